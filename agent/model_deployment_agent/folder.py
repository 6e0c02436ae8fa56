"""The folder of a device: where what is, and files that are whole or not there.

``agent.json`` (what enrolment gave), ``token`` (0600), ``agent.sqlite3``, ``values.json``, ``blobs/``,
``releases/``, and the links ``current`` and ``previous``.
"""

import base64
import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from model_deployment_agent.errors import AgentError


@dataclass(frozen=True, slots=True)
class Identity:
    """What a device knows from its enrolment."""

    url: str
    project: str
    device: str
    #: The public key of releases, in base64.
    key: str
    #: Plain HTTP to another machine was allowed.
    insecure: bool = False

    @property
    def public(self) -> bytes:
        """The 32 bytes of the key."""
        return base64.b64decode(self.key)


@dataclass(frozen=True, slots=True)
class Folder:
    """Paths of the device's state."""

    path: Path

    @classmethod
    def at(cls, path: str | Path) -> Self:
        """The folder; relative paths are of the current directory."""
        return cls(Path(path).absolute())

    @property
    def token(self) -> Path:
        """File of the token, for its owner only."""
        return self.path / "token"

    @property
    def certificates(self) -> Path:
        """Certificates that the controller's is checked with; not there: those of the system."""
        return self.path / "ca.pem"

    @property
    def database(self) -> Path:
        """SQLite: unsent messages, numbers, the update under way."""
        return self.path / "agent.sqlite3"

    @property
    def values(self) -> Path:
        """JSON: the value of each command's name."""
        return self.path / "values.json"

    @property
    def blobs(self) -> Path:
        """Files by SHA-256, and the beginnings of those that are on their way (``.part``)."""
        return self.path / "blobs"

    @property
    def releases(self) -> Path:
        """A folder for each release."""
        return self.path / "releases"

    def identity(self) -> Identity:
        """Read ``agent.json``.

        Raises:
            AgentError: the device is not enrolled, or the file is broken.
        """
        try:
            found = Identity(**json.loads((self.path / "agent.json").read_text()))
            texts = (found.url, found.project, found.device)
            if not all(isinstance(one, str) for one in texts) or len(found.public) != 32:
                raise ValueError("a member is not what enrolment wrote")
            return found
        except FileNotFoundError:
            raise AgentError(
                f"cannot run: the device is not enrolled in {self.path}; run model-deployment-agent enrol"
            ) from None
        except (OSError, TypeError, ValueError) as error:
            raise AgentError(
                f"cannot read {self.path / 'agent.json'}: {error!a:.200}; enrol again with --again"
            ) from error

    def save_identity(self, identity: Identity, token: str) -> None:
        """Write what enrolment gave; the identity comes last, so that with it the token is there."""
        write_whole(self.token, token.encode(), mode=0o600)
        write_json(self.path / "agent.json", asdict(identity))

    def read_token(self) -> str:
        """The token.

        Raises:
            AgentError: it is not there.
        """
        try:
            return self.token.read_text().strip()
        except OSError as error:
            raise AgentError(f"cannot read the token: {error}; enrol again with --again") from error

    def token_of(self, identity: Identity) -> str:
        """The token of an identity.

        Raises:
            AgentError: it is not there, or is of another identity by now: nothing may be said in the name
                of the one before.
        """
        token, now = self.read_token(), self.identity()
        if now != identity:
            raise AgentError(
                f"cannot go on as {identity.device} of {identity.project}: the device was enrolled anew, "
                f"as {now.device} of {now.project} at {now.url}; start the agent anew"
            )
        return token


def write_whole(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a file so that after a power cut the old or the new one is there, whole."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    for left in path.parent.glob(f".{path.name}.*"):  # by processes that were killed
        left.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync_folder(path.parent)


def write_json(path: Path, content: Any) -> None:
    """:func:`write_whole` with JSON."""
    write_whole(path, json.dumps(content, indent=1, sort_keys=True).encode() + b"\n")


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    number = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def is_read_only(path: Path) -> bool:
    """Whether the file system takes no changes: Linux does that to a card that has begun to fail."""
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


@contextlib.contextmanager
def locked(folder: Folder) -> Iterator[None]:
    """Keep other agents out of the folder; the kernel lets go when this process ends.

    Raises:
        AgentError: another agent runs here.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    with (folder.path / "lock").open("r" if is_read_only(folder.path) else "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise AgentError(f"cannot use {folder.path}: another agent runs there") from error
        yield
