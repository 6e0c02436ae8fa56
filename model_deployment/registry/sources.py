"""Where training data may be fetched from: nowhere that the user has not named.

A logged dataset names its source itself, and anybody who may write to the registry chooses it. So a
source is read by a grammar of ours, narrower than that of URLs, and what was read is what is fetched:
no second parser is asked. There is no user in an address, no way up in a path, nothing encoded twice.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

_FILE = re.compile(r"(?:file:(?://(?:localhost)?)?)(/.*)", re.ASCII | re.DOTALL | re.IGNORECASE)
_WEB = re.compile(
    r"(https?)://([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?"
    r"(/[!$-;=@-\[\]_a-z~]*)?(\?[!$-;=?@-\[\]_a-z~|^{}]*)?",
    re.ASCII | re.IGNORECASE,
)
_BUCKET = re.compile(
    r"s3://([a-z0-9][a-z0-9._-]{1,62})/([ !$-;=@-\[\]_a-z~]*)", re.ASCII | re.IGNORECASE
)
_PORTS = {"http": 80, "https": 443}
_HOW = "write absolute folders, https://host[:port]/ or s3://bucket/"


@dataclass(frozen=True, slots=True)
class File:
    """A file on this machine."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class Web:
    """A file on a web server."""

    scheme: str
    host: str
    port: int
    path: str
    query: str = ""

    def __str__(self) -> str:
        """Without the query, which may be a signature."""
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}{self.path}"


@dataclass(frozen=True, slots=True)
class Bucket:
    """An object in S3, or in what speaks like it."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


Place = File | Web | Bucket


def locate(text: str) -> Place | None:
    """The place that a text names; None if it is none that could ever be allowed."""
    if text.startswith("/"):
        return File(Path(text)) if "\0" not in text else None
    if found := _FILE.fullmatch(text):
        path = unquote(found[1])
        return File(Path(path)) if "\0" not in path else None
    if found := _WEB.fullmatch(text):
        scheme, host, path = found[1].lower(), found[2].lower(), found[4] or "/"
        port = int(found[3]) if found[3] else _PORTS[scheme]
        if not 0 < port < 65536 or not _straight(path):
            return None
        return Web(scheme, host, port, path, found[5] or "")
    if found := _BUCKET.fullmatch(text):
        return Bucket(found[1], found[2]) if _straight(f"/{found[2]}") else None
    return None


def join(base: Web, target: str) -> Web | None:
    """The place a redirect leads to; None if it is none."""
    if target.startswith("/") and not target.startswith("//"):
        host = f"{base.scheme}://{base.host}:{base.port}"
        target = host + target
    found = locate(target.partition("#")[0])
    return found if isinstance(found, Web) else None


class Places:
    """The list of what is allowed; an empty one allows nothing."""

    def __init__(self, entries: Iterable[str] = ()) -> None:
        """Read it.

        Args:
            entries: absolute folders, and the beginnings of ``http(s)://`` and ``s3://`` addresses.

        Raises:
            ValueError: an entry is none of those.
        """
        self._folders: list[Path] = []
        self._sites: list[Web] = []
        self._buckets: list[Bucket] = []
        for entry in entries:
            self._add(entry)

    def _add(self, entry: str) -> None:
        match locate(entry):
            case File(path) if entry.startswith("/") and path.resolve() != Path("/"):
                self._folders.append(path)
            case Web(scheme, host, port, path, ""):
                self._sites.append(Web(scheme, host, port, _folder(path)))
            case Bucket(bucket, key):
                self._buckets.append(Bucket(bucket, _folder(key) if key else ""))
            case _:
                raise ValueError(f"cannot allow training data from {entry!r}: {_HOW}")

    def folder(self, path: Path) -> Path | None:
        """The allowed folder that a file lies in when all links are followed, itself without links."""
        try:
            real = path.resolve()
            folders = [folder.resolve() for folder in self._folders]
        except (OSError, RuntimeError, ValueError):  # a circle of links
            return None
        return next((one for one in folders if real != one and real.is_relative_to(one)), None)

    def allow(self, place: Place) -> bool:
        """Whether something may be fetched from there."""
        match place:
            case File(path):
                return self.folder(path) is not None
            case Web(scheme, host, port, path):
                return any(
                    (site.scheme, site.host, site.port) == (scheme, host, port)
                    and path.startswith(site.path)
                    for site in self._sites
                )
            case Bucket(bucket, key):
                return any(
                    one.bucket == bucket and key.startswith(one.key) for one in self._buckets
                )


def _folder(path: str) -> str:
    return path if path.endswith("/") else f"{path}/"


def _straight(path: str) -> bool:
    """Whether a path leads nowhere but down, however often somebody decodes it."""
    decoded = path
    for _ in range(3):
        parts = decoded.split("/")[1:]
        if any(part in (".", "..") for part in parts) or "\\" in decoded or "\0" in decoded:
            return False
        decoded = unquote(decoded)
    # An encoded slash makes two parts of one for those who decode it.
    return decoded.count("/") == path.count("/") and "" not in path.split("/")[1:-1]
