"""What servers of each MLflow release have, and how a server says that it lacks a call. Pure."""

import re
from collections.abc import Collection
from enum import StrEnum
from typing import NamedTuple

#: Releases, candidates and builds of developers: ``2.9.2``, ``3.0.0rc1``, ``2.9.3.dev0``. A page of another
#: program, which some proxies answer at any path, is none.
_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})(?:\.\d{1,6})?[A-Za-z0-9.+_-]{0,30}", re.ASCII)
#: What MLflow's client says of a page that is no answer of MLflow.
_MISSING_PAGE = re.compile(r"failed with error code (?:404|405|501)\b")
#: The same of a JSON document that has another form than MLflow's errors, such as FastAPI's.
_FOREIGN_ANSWER = re.compile(
    r"INTERNAL_ERROR: Response: \{.*(?:not found|not allowed)", re.I | re.S
)
_PATH = re.compile(r"API request to endpoint (\S+)")


class ServerFeature(StrEnum):
    """What some servers have, in words."""

    ALIASES = "aliases of models"
    DATASETS = "datasets of runs"
    PROMPTS = "prompts beside models"
    LOGGED_MODELS = "logged models"


#: The first release with each of them (https://mlflow.org/releases).
_SINCE = {
    ServerFeature.ALIASES: (2, 3),
    ServerFeature.DATASETS: (2, 4),
    ServerFeature.PROMPTS: (2, 21),
    ServerFeature.LOGGED_MODELS: (3, 0),
}


class MlflowVersion(NamedTuple):
    """The release of a server."""

    major: int
    minor: int
    #: As the server writes it.
    text: str

    def __str__(self) -> str:
        return self.text


def read_mlflow_version(text: str) -> MlflowVersion | None:
    """The version in an answer of ``GET /version``; None: another program answered."""
    text = text.strip().strip('"')
    found = _VERSION.fullmatch(text)
    return MlflowVersion(int(found[1]), int(found[2]), text) if found else None


def offers(
    version: MlflowVersion | None, lacking: Collection[ServerFeature], feature: ServerFeature
) -> bool:
    """Whether to ask a server for a feature.

    Args:
        version: None if the server does not say: it is asked, and what it lacks is learned.
        lacking: learned of a server of unknown version.
    """
    if version is None:
        return feature not in lacking
    return (version.major, version.minor) >= _SINCE[feature]


def first_release(feature: ServerFeature) -> str:
    """The first MLflow whose server has a feature."""
    return ".".join(map(str, _SINCE[feature]))


def is_missing_call(error: BaseException) -> bool:
    """Whether MLflow's client says that the server has no such call.

    A model, version or run that does not exist is something else: the server says so in MLflow's own form.
    """
    code = getattr(error, "error_code", "")
    text = str(error)
    if code == "ENDPOINT_NOT_FOUND":
        return True
    return bool(_MISSING_PAGE.search(text) or _FOREIGN_ANSWER.match(text))


def missing_path(error: BaseException) -> str:
    """The path of the call that a server lacks; empty if the error does not name one."""
    found = _PATH.search(str(error))
    return found[1].strip("'\"") if found else ""
