"""Explains in one sentence why a call to the MLflow registry failed, and what helps.

The libraries below raise chains of exceptions whose texts are dumps of each other. Known ones get a
sentence of ours; of all others the first line is shown.
"""

import errno
import re
import socket
import sqlite3
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from difflib import get_close_matches
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from model_deployment.registry.server_features import is_missing_call, missing_path
from model_deployment.registry.values import shown

_LONGEST = 200
#: Similarity from which on a name is suggested, from 0 to 1.
_SIMILARITY = 0.6
_SQLITE_FILE = re.compile(r"sqlite:///([^?]+)(?:\?.*)?")
_STATUS = re.compile(r"failed with error code (\d{3})|too many (\d{3}) error responses")
_NO_DRIVER = re.compile(r"No module named '([\w.]+)'")
_NO_DIALECT = re.compile(r"Can't load plugin: sqlalchemy\.dialects:([\w.]+)")
#: Packages of database drivers whose names differ from the module.
_PACKAGES = {
    "psycopg2": "psycopg2-binary",
    # What postgresql:// means to SQLAlchemy 2.1; MLflow does not work with it.
    "psycopg": "psycopg2-binary, and write postgresql+psycopg2://",
    "MySQLdb": "mysqlclient",
}
_NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})
#: Names of exceptions, of any library, and their meaning.
_EXCEPTIONS = (
    ("NameResolutionError", "its host name cannot be resolved"),
    ("ConnectTimeout ConnectTimeoutError ReadTimeout ReadTimeoutError TimeoutError", "no answer in time"),
    ("RemoteDisconnected ProtocolError ChunkedEncodingError", "it closed the connection"),
    ("ProxyError", "the HTTP proxy refuses the connection (HTTP_PROXY, HTTPS_PROXY, NO_PROXY)"),
    ("InvalidURL InvalidUrlException InvalidSchema MissingSchema", "its address cannot be read"),
)  # fmt: skip
#: Signs that the server is not MLflow's. MLflow's client shows foreign JSON documents with the last one.
_NOT_MLFLOW = (
    "not in a valid JSON format",
    "JSONDecodeError",
    "Expecting value: line",
    "INTERNAL_ERROR: Response: {",
)
#: Texts of SQLite, and their meaning.
_SQLITE = (
    ("database is locked", "its database is locked by another program"),
    ("unable to open database file", "its file cannot be opened: the folder must exist, and the "
    "controller's user must be able to read and write both"),
    ("readonly database", "its file is read-only for the controller's user"),
    ("file is not a database", "its file is not an SQLite database"),
    ("malformed", "its file is damaged"),
    ("disk is full", "its disk is full"),
    ("no such table", "its file lacks tables of MLflow: it was replaced, or another release of MLflow "
    "wrote it ('mlflow db upgrade')"),
)  # fmt: skip
#: MLflow raises these with the code of a missing object.
_NO_REGISTRY = (
    ("unsupported URI", "that is not the address of a registry: write http://HOST:PORT, "
     "sqlite:////PATH/mlflow.db, or that of another database"),
    ("is in maintenance mode", "MLflow no longer keeps a registry in plain folders: write "
     "sqlite:////PATH/mlflow.db, or the address of an MLflow server"),
)  # fmt: skip


#: MLflow's codes for a model, version, run or artifact that does not exist.
_ABSENT = frozenset({"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "INVALID_PARAMETER_VALUE"})
#: Of MLflow's server and of S3, and of a folder.
_NO_FILE = re.compile(r"\b404\b|NoSuchKey|[Nn]o such (?:artifact|file)")


class RegistryUnusable(Exception):
    """A check before the call showed that the registry cannot be used; the text says why."""


def explain(error: BaseException, registry: str, version: str = "") -> str:
    """A clause like ``cannot reach the MLflow registry at http://host:5000: connection refused``.

    Args:
        error: the exception of MLflow's client.
        registry: the address, without credentials.
        version: the MLflow release of its server; empty if unknown.
    """
    if version and is_missing_call(error):
        path = missing_path(error)
        return (
            f"the MLflow server at {registry} is {version}, which has no such call{path and f' ({path})'}; "
            "a newer server has it"
        )
    chain = [*_chain(error)]
    if why := _unreachable(chain):
        return f"cannot reach the MLflow registry at {registry}: {why}"
    why = str(error) if isinstance(error, RegistryUnusable) else ""
    why = why or no_registry(error) or _database(chain) or _answer(chain) or first_line(error)
    return f"cannot use the MLflow registry at {registry}: {why}"


def explain_artifacts(error: BaseException, registry: str) -> str:
    """The same for a download, which uses the registry and the store of the artifacts."""
    chain = [*_chain(error)]
    if why := _unreachable(chain):
        return (
            f"cannot reach the MLflow registry at {registry}, or the store of its artifacts: {why}"
        )
    if driver := _NO_DRIVER.search(_text(chain)):
        return f"its artifacts need {driver[1]}, which is not installed: pip install {driver[1]}"
    lost = next((one for one in chain if isinstance(one, OSError) and one.filename), None)
    if lost is not None:
        return f"its artifacts cannot be read: {lost.filename}: {(lost.strerror or '').lower()}"
    return f"its artifacts cannot be read: {_answer(chain) or first_line(error)}"


def no_registry(error: BaseException) -> str:
    """Why there cannot be a registry at this address; empty if the error says something else."""
    return next((words for sign, words in _NO_REGISTRY if sign in str(error)), "")


def is_absent(error: Exception) -> bool:
    """Whether MLflow's error says that what was asked for does not exist."""
    return getattr(error, "error_code", "") in _ABSENT and not no_registry(error)


def is_absent_file(error: Exception) -> bool:
    """The same of a file, of which each store of artifacts says so in its own words."""
    return is_absent(error) or _NO_FILE.search(_text([*_chain(error)])) is not None


def found_or_none(call: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a call to MLflow; None if what it asks for does not exist."""
    try:
        return call(*arguments)
    except Exception as error:
        if not is_absent(error):
            raise
        return None


def check_file(uri: str) -> None:
    """Check whether an SQLite registry can be used: MLflow itself would retry for minutes.

    Raises:
        RegistryUnusable: the file cannot be opened, or another program has locked it.
    """
    found = _SQLITE_FILE.fullmatch(uri)
    path = Path(found[1]) if found else None
    try:
        if path is None or not path.exists():
            return  # MLflow creates the file
        if not path.is_file():
            raise RegistryUnusable(f"{path} is not a file")
        address = f"file:{quote(str(path))}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=0)) as connection:
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    except sqlite3.Error as error:
        raise RegistryUnusable(_database([error])) from error
    except OSError as error:
        raise RegistryUnusable(
            f"{path}: {(error.strerror or 'cannot be opened').lower()}"
        ) from error


def check_artifacts(folder: Path) -> None:
    """Check whether a download brought anything: without artifacts MLflow leaves an empty folder.

    Raises:
        RegistryUnusable: the folder is empty.
    """
    if not any(folder.iterdir()):
        raise RegistryUnusable(
            "there are no files at their location: the artifact store is not mounted, or the files "
            "were removed"
        )


def first_line(error: BaseException) -> str:
    """The first line of an error, without credentials, cut between words."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = shown(lines[0] if lines else type(error).__name__)
    return text if len(text) <= _LONGEST else text[:_LONGEST].rpartition(" ")[0] + " ..."


def no_model(name: str, names: Sequence[str]) -> str:
    """Say that there is no model of this name, and suggest similar ones.

    Args:
        names: the names of the existing models.
    """
    if not names:
        return f"the registry has no model {name}, nor any other model"
    near = get_close_matches(name, names, 3, _SIMILARITY)
    lower = {one.lower(): one for one in names}
    if not near and (match := get_close_matches(name.lower(), [*lower], 3, _SIMILARITY)):
        near = [lower[one] for one in match]
    meant = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"the registry has no model {name}{meant}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, and all errors that it came from."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        orig, reason = getattr(one, "orig", None), getattr(one, "reason", None)
        linked = (one.__cause__, one.__context__, orig, reason, *one.args)
        waiting += [other for other in linked if isinstance(other, BaseException)]


def _unreachable(chain: list[BaseException]) -> str:
    """Why the server cannot be reached; empty if it answered."""
    if said := next(filter(None, map(_socket_error, chain)), ""):
        return said
    names = {type(one).__name__ for one in chain}
    if said := next((words for kinds, words in _EXCEPTIONS if names & {*kinds.split()}), ""):
        return said
    # Database drivers say so only in their text.
    return "connection refused" if "Connection refused" in _text(chain) else ""


def _socket_error(one: BaseException) -> str:
    match one:
        case socket.gaierror():
            return "its host name cannot be resolved"
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted ({one.verify_message})"
        case ssl.SSLError() if "WRONG_VERSION_NUMBER" in str(one) or "record layer" in str(one):
            return "it does not speak TLS there; write http:// instead of https://"
        case ssl.SSLError():
            return f"TLS failed ({one.reason or 'no reason is given'})"
        case ConnectionRefusedError():
            return "connection refused"
        case ConnectionError() if one.errno:
            return "it closed the connection"
        case OSError() if one.errno in _NO_ROUTE:
            return (one.strerror or "no route to host").lower()
    return ""


def _database(chain: list[BaseException]) -> str:
    """The problem with a database or its driver; empty if there is none."""
    text = _text(chain)
    if found := _NO_DRIVER.search(text):
        driver = found[1].partition(".")[0]
        return f"the driver {driver} is not installed: pip install {_PACKAGES.get(driver, driver)}"
    if found := _NO_DIALECT.search(text):
        return f"{found[1].partition('.')[0]} is not a kind of database that SQLAlchemy knows"
    if from_sqlite := [one for one in chain if "sqlite3" in f"{type(one).__module__} {one}"]:
        said = next((words for sign, words in _SQLITE if sign in text), "")
        return said or first_line(from_sqlite[-1])
    originals = (getattr(one, "orig", None) for one in chain)
    return next((first_line(one) for one in originals if isinstance(one, BaseException)), "")


def _answer(chain: list[BaseException]) -> str:
    """The problem with an answer; empty if it is unknown."""
    text = _text(chain)
    status = _status(chain, text)
    if any(sign in text for sign in _NOT_MLFLOW):
        return "the server there is not an MLflow server"
    match status:
        case 0:
            odd = type(chain[0]) in (ValueError, TypeError, KeyError, AttributeError)
            return "the server there does not answer like an MLflow server" if odd else ""
        case 401:
            return (
                "it requires a user and a password (401): set MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            )
        case 403:
            return "it does not allow this to the controller's user (403)"
        case 404 | 405:
            return f"the server there is not an MLflow server ({status})"
    phrase = f" {HTTPStatus(status).phrase}" if status in {*HTTPStatus} else ""
    moved = ": its address redirects elsewhere, perhaps to a login" if 300 <= status < 400 else ""
    return f"it answered {status}{phrase}{moved}"


def _status(chain: list[BaseException], text: str) -> int:
    if found := _STATUS.search(text):
        return int(found[1] or found[2])
    code = str(getattr(chain[0], "error_code", ""))
    return {"PERMISSION_DENIED": 403, "UNAUTHENTICATED": 401}.get(code, 0)


def _text(chain: list[BaseException]) -> str:
    return "\n".join(str(one) for one in chain)
