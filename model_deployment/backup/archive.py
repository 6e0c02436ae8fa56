"""The one file of a backup: a gzipped tar with a manifest first and files of known names behind it.

Read without ``tarfile``'s own reader, which follows links, long names and extensions of any size: an
archive is taken from anywhere, and is checked before it changes anything.
"""

import gzip
import hashlib
import io
import json
import re
import shutil
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from model_deployment.core.errors import ModelDeploymentError

#: Raised when an older release could not read an archive any more.
FORMAT = 1
MANIFEST = "manifest.json"
STATE, INSTANCE, DOCUMENTS = "state.db", "instance-id", "documents.db"

#: In this order. The state and the name are always there.
_NAMES = (INSTANCE, STATE, DOCUMENTS)
#: No name and no manifest is longer.
_SMALL = {MANIFEST: 64 * 1024, INSTANCE: 64}
_BLOCK = tarfile.BLOCKSIZE
_PIECE = 1024 * 1024
#: Zeros at the end of an archive.
_LONGEST_END = 2 * tarfile.RECORDSIZE
#: Room that has to be left on the disk.
_SPARE = 16 * 1024 * 1024


class BadArchive(ModelDeploymentError):
    """The archive is not as a backup has to be; nothing was changed."""


class _Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Member:
    """One file of the archive."""

    sha256: str
    size: int
    #: The layout of its tables; 0 for what is no database.
    layout: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is in an archive."""

    format: int
    #: The release that made it.
    model_deployment: str
    #: ISO 8601, UTC.
    time: str
    instance: str
    #: Where captures, metrics and reports are kept: ``embedded`` or ``mongodb``.
    documents: str
    members: Mapping[str, Member]


def measure(path: Path, layout: int = 0) -> Member:
    """A file as the manifest has it."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Member(digest, file.tell(), layout)


def write(target: BinaryIO, manifest: Manifest, folder: Path) -> None:
    """Write an archive of the manifest's files, which are in ``folder``.

    Raises:
        OSError: there is no room.
    """
    with (
        # Captures are text, and become a tenth of their size even so.
        gzip.GzipFile(fileobj=target, mode="wb", compresslevel=3, filename="") as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.GNU_FORMAT) as tar,
    ):
        text = json.dumps(asdict(manifest), indent=2).encode()
        tar.addfile(_header(MANIFEST, len(text)), io.BytesIO(text))
        for name in _NAMES:
            if name in manifest.members:
                with (folder / name).open("rb") as file:
                    tar.addfile(_header(name, manifest.members[name].size), file)


def _header(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info


def extract(path: Path, folder: Path) -> Manifest:
    """Check an archive, and write its files into an empty folder.

    Raises:
        BadArchive: it is no backup, is damaged, or of a newer release; or there is no room for it.
    """
    try:
        with path.open("rb") as file, gzip.GzipFile(fileobj=file, mode="rb") as packed:
            return _extract(packed, folder)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadArchive(
            f"cannot read the backup {path}: it is damaged or cut ({error})"
        ) from error
    except BadArchive as error:
        raise BadArchive(f"cannot use the backup {path}: {error.detail}") from error
    except OSError as error:
        raise BadArchive(f"cannot read the backup {path}: {error.strerror or error}") from error


def _extract(packed: _Reader, folder: Path) -> Manifest:
    info = _next(packed)
    if info is None or info.name != MANIFEST or info.size > _SMALL[MANIFEST]:
        raise BadArchive("it does not begin with a manifest")
    manifest = _parse(_whole(packed, info.size))
    needed = sum(member.size for member in manifest.members.values())
    free = shutil.disk_usage(folder).free
    if needed + _SPARE > free:
        raise BadArchive(
            f"it has {needed} bytes, and {free} are free on the disk of {folder.parent}"
        )
    for name in _NAMES:
        if (member := manifest.members.get(name)) is None:
            continue
        info = _next(packed)
        if info is None or (info.name, info.size) != (name, member.size):
            raise BadArchive(f"{name} is not where it should be")
        _unpack(packed, folder / name, member)
    if _next(packed) is not None:
        raise BadArchive("there is more in it than its manifest says")
    return manifest


def _next(packed: _Reader) -> tarfile.TarInfo | None:
    """The header of the next file; None at the end."""
    block = packed.read(_BLOCK)
    if not any(block):
        rest = packed.read(_LONGEST_END + 1)
        if any(rest) or len(rest) > _LONGEST_END:
            raise BadArchive("there is more behind its end")
        return None
    try:
        info = tarfile.TarInfo.frombuf(block, "ascii", "strict")
    except (tarfile.TarError, ValueError) as error:
        raise BadArchive(f"it is no backup, or damaged ({error})") from error
    if info.type != tarfile.REGTYPE or info.size < 0:
        raise BadArchive(f"there is something else than files in it: {info.name[:100]!r}")
    return info


def _unpack(packed: _Reader, target: Path, member: Member) -> None:
    digest = hashlib.sha256()
    with target.open("xb") as file:
        target.chmod(0o600)
        left = member.size
        while left:
            piece = packed.read(min(_PIECE, left))
            if not piece:
                raise EOFError("it ends too early")
            digest.update(piece)
            file.write(piece)
            left -= len(piece)
    packed.read(-member.size % _BLOCK)
    if digest.hexdigest() != member.sha256:
        raise BadArchive(f"{target.name} is damaged: its checksum is another")


def _whole(packed: _Reader, size: int) -> bytes:
    return packed.read(size + -size % _BLOCK)[:size]


def _parse(text: bytes) -> Manifest:
    try:
        values = json.loads(text)
        if values["format"] > FORMAT:
            raise BadArchive(
                f"a newer release made it (format {values['format']}, this one knows {FORMAT})"
            )
        members = {name: Member(**member) for name, member in values.pop("members").items()}
        manifest = Manifest(**values, members=members)
        sound = _is_sound(manifest)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadArchive(f"its manifest cannot be read ({error!r:.200})") from error
    if not sound:
        raise BadArchive("its manifest is not that of a backup")
    return manifest


def _is_sound(manifest: Manifest) -> bool:
    names = set(manifest.members)
    return (
        type(manifest.format) is int
        and manifest.format == FORMAT
        and {STATE, INSTANCE} <= names <= {*_NAMES}
        and re.fullmatch(r"[0-9a-f]{12}", manifest.instance) is not None
        and all(
            type(member.size) is int
            and 0 <= member.size <= _SMALL.get(name, member.size)
            and type(member.layout) is int
            and isinstance(member.sha256, str)
            for name, member in manifest.members.items()
        )
    )
