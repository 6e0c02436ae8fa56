"""The file of a backup: a gzipped tar with a manifest first, then the files that the manifest names.

An archive may come from anywhere, so it is read as a stream in which only plain files with the names, order
and sizes of the manifest are accepted. Links, long names and other extensions of tar are refused.
"""

import gzip
import hashlib
import io
import json
import re
import shutil
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, BinaryIO, Self, cast

from model_deployment.core.errors import ModelDeploymentError
from model_deployment.state import instance

#: Increased when older releases can no longer read an archive.
FORMAT = 3
#: The format of an archive without further files, which releases before them can read.
DATABASES_ONLY = 1
MANIFEST = "manifest.json"
STATE, INSTANCE, DOCUMENTS = "state.db", instance.FILE, "documents.db"

#: In this order, and first. The state and the instance id are always present.
_NAMES = (INSTANCE, STATE, DOCUMENTS)
#: Bytes at most.
_SMALL = {MANIFEST: 8 * 1024 * 1024, INSTANCE: 64}
#: Bytes of zeros that may follow the last file.
_LONGEST_END = 2 * tarfile.RECORDSIZE
#: Bytes that have to stay free on the disk.
_SPARE = 16 * 1024 * 1024


class BadArchive(ModelDeploymentError):
    """The archive is not a valid backup; nothing was changed."""


class _PlainFile(tarfile.TarInfo):
    """A header of a plain file; refuses all others before tarfile acts on them."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        info = super().frombuf(buf, encoding, errors)
        if info.type != tarfile.REGTYPE or info.size < 0:
            raise BadArchive(f"it contains something other than plain files: {info.name[:100]!r}")
        return info


@dataclass(frozen=True, slots=True)
class Member:
    """One file of the archive."""

    sha256: str
    size: int
    #: The layout of its tables; 0 if it is not a database.
    layout: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of an archive."""

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
    """The manifest's entry for a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Member(digest, file.tell(), layout)


def write(target: BinaryIO, manifest: Manifest, folder: Path) -> None:
    """Write an archive of the manifest's files, which are in ``folder``.

    Raises:
        OSError: the disk is full, or a file cannot be read.
        BadArchive: the manifest is larger than :func:`extract` takes.
    """
    text = json.dumps(asdict(manifest), indent=2).encode()
    if len(text) > _SMALL[MANIFEST]:
        raise BadArchive(
            f"cannot write a backup of {len(manifest.members)} files: its manifest would have "
            f"{len(text)} bytes, and may have {_SMALL[MANIFEST]}; delete old versions of the training data"
        )
    with (
        # A low level is enough: captures are text, and shrink to a tenth.
        gzip.GzipFile(fileobj=target, mode="wb", compresslevel=3, filename="") as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.GNU_FORMAT) as tar,
    ):
        tar.addfile(_header(MANIFEST, len(text)), io.BytesIO(text))
        for name, stored in _stored(manifest):
            with (folder / name).open("rb") as file:
                tar.addfile(_header(stored, manifest.members[name].size), file)


def _stored(manifest: Manifest) -> list[tuple[str, str]]:
    """The members in their order, each with its name in the tar, which has no room for long ones."""
    first = [name for name in _NAMES if name in manifest.members]
    more = sorted(manifest.members.keys() - _NAMES)
    return [
        *((name, name) for name in first),
        *((name, f"file-{place}") for place, name in enumerate(more)),
    ]


def _header(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info


def extract(
    path: Path, folder: Path, further: Callable[[str, Member], bool] = lambda name, member: False
) -> Manifest:
    """Check an archive, and write its files into an empty folder.

    Args:
        further: whether a file besides the databases is accepted under its name.

    Raises:
        BadArchive: it is not a backup, is damaged, or of a newer release; or the disk has no room for it.
    """
    try:
        with (
            gzip.open(path) as packed,
            tarfile.open(fileobj=packed, mode="r|", tarinfo=_PlainFile) as tar,
        ):
            return _extract(tar, folder, further)
    except (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError, ValueError) as error:
        raise BadArchive(
            f"cannot read the backup {path}: it is damaged or cut ({error})"
        ) from error
    except BadArchive as error:
        raise BadArchive(f"cannot use the backup {path}: {error.detail}") from error
    except OSError as error:
        raise BadArchive(f"cannot read the backup {path}: {error.strerror or error}") from error


def _extract(
    tar: tarfile.TarFile, folder: Path, further: Callable[[str, Member], bool]
) -> Manifest:
    info = tar.next()
    if info is None or info.name != MANIFEST or info.size > _SMALL[MANIFEST]:
        raise BadArchive("it does not begin with a manifest")
    manifest = _parse(_content(tar, info).read())
    if not all(further(name, one) for name, one in manifest.members.items() if name not in _NAMES):
        raise BadArchive("its manifest names files that no backup has")
    needed = sum(member.size for member in manifest.members.values())
    free = shutil.disk_usage(folder).free
    if needed + _SPARE > free:
        raise BadArchive(
            f"it needs {needed} bytes, but only {free} bytes are free on the disk of {folder.parent}"
        )
    for name, stored in _stored(manifest):
        member = manifest.members[name]
        info = tar.next()
        if info is None or (info.name, info.size) != (stored, member.size):
            raise BadArchive(f"{name} is missing or out of place")
        (folder / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (folder / name).open("xb") as file:
            (folder / name).chmod(0o600)
            shutil.copyfileobj(_content(tar, info), file)
        if measure(folder / name).sha256 != member.sha256:
            raise BadArchive(f"{name} is damaged: its checksum does not match")
    if tar.next() is not None:
        raise BadArchive("it contains more than its manifest lists")
    rest = tar.fileobj.read(_LONGEST_END + 1) if tar.fileobj else b""
    if any(rest) or len(rest) > _LONGEST_END:
        raise BadArchive("there is data after its end")
    return manifest


def _content(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    return cast(IO[bytes], tar.extractfile(info))  # None only for what is not a plain file


def _parse(text: bytes) -> Manifest:
    try:
        values = json.loads(text)
        if values["format"] > FORMAT:
            raise BadArchive(
                f"a newer release made it (format {values['format']}; this release reads format {FORMAT})"
            )
        members = {name: Member(**member) for name, member in values.pop("members").items()}
        manifest = Manifest(**values, members=members)
        sound = _is_sound(manifest)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadArchive(f"its manifest cannot be read ({error!r:.200})") from error
    if not sound:
        raise BadArchive("its manifest is not the manifest of a backup")
    return manifest


def _is_sound(manifest: Manifest) -> bool:
    names = set(manifest.members)
    return (
        type(manifest.format) is int
        and DATABASES_ONLY <= manifest.format <= FORMAT
        and {STATE, INSTANCE} <= names
        and (manifest.format > DATABASES_ONLY or names <= {*_NAMES})
        and re.fullmatch(r"[0-9a-f]{12}", manifest.instance) is not None
        and all(
            type(member.size) is int
            and 0 <= member.size <= _SMALL.get(name, member.size)
            and type(member.layout) is int
            and isinstance(member.sha256, str)
            for name, member in manifest.members.items()
        )
    )
