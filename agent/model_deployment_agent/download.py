"""Loading files by their SHA-256, going on where the line was cut.

Protocol: ``docs/reference/device-protocol.md``, *Downloads*; ``Range`` and ``If-Range`` as in RFC 9110,
section 14.
"""

import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPResponse
from pathlib import Path

from model_deployment_agent.controller import Controller, segment
from model_deployment_agent.errors import ControllerRefused, Unreachable, UpdateFailed
from model_deployment_agent.folder import sync_folder
from model_deployment_agent.manifest import ReleaseFile
from model_deployment_agent.release_folders import CHUNK, BrokenFile, digest

#: Bytes of the disk that stay free.
SPARE = 8 * 1024 * 1024


class Cancelled(Exception):
    """Another release is wanted."""


def check_space(blobs: Path, files: list[ReleaseFile]) -> None:
    """Whether the missing files fit on the disk.

    Raises:
        UpdateFailed: they do not.
    """
    needed = sum(one.size for one in files) - sum(_size(_part(blobs, one)) for one in files)
    free = shutil.disk_usage(blobs).free
    if needed + SPARE > free:
        raise UpdateFailed(
            f"cannot load the release: it needs {needed + SPARE:,} bytes, and {free:,} are free; "
            "free some, then run model-deployment-agent retry"
        )


def begun(blobs: Path, file: ReleaseFile) -> int:
    """Bytes of a file that came before the line was cut."""
    return _size(_part(blobs, file))


def load(
    controller: Controller,
    token: str,
    project: str,
    file: ReleaseFile,
    blobs: Path,
    *,
    loaded: Callable[[int], None],
    cancelled: threading.Event,
) -> None:
    """Load one file, from where its beginning ends. Blocks; for a thread.

    Args:
        loaded: is told how many bytes of this file are there.

    Raises:
        Unreachable: the line was cut; what came is kept.
        BrokenFile: what came is another file; it was removed.
        UpdateFailed: the disk is full.
        Cancelled: as asked.
    """
    part = _part(blobs, file)
    have = _size(part)
    if have > file.size:
        part.unlink()
        have = 0
    try:
        if have < file.size or not part.exists():
            headers = {"Range": f"bytes={have}-", "If-Range": f'"{file.sha256}"'} if have else {}
            path = f"/{segment(project)}/blobs/{file.sha256}"
            with controller.open("GET", path, token=token, headers=headers) as response:
                _receive(response, file, part, have, loaded=loaded, cancelled=cancelled)
    except ControllerRefused as error:
        raise BrokenFile(f"cannot load {file.path}: {error}") from error
    with _disk(file):
        if digest(part) != file.sha256:
            part.unlink()
            raise BrokenFile(f"cannot use {file.path}: its SHA-256 is not that of the manifest")
        part.chmod(0o444)
        part.replace(blobs / file.sha256)
        sync_folder(blobs)


@contextlib.contextmanager
def _disk(file: ReleaseFile) -> Iterator[None]:
    """Errors of the disk, apart from those of the network."""
    try:
        yield
    except OSError as error:
        raise UpdateFailed(f"cannot write {file.path}: {error}") from error


def _receive(
    response: HTTPResponse,
    file: ReleaseFile,
    part: Path,
    have: int,
    *,
    loaded: Callable[[int], None],
    cancelled: threading.Event,
) -> None:
    """Write the body behind what is there."""
    start = _start(response, have)
    if start is None:
        part.unlink(missing_ok=True)
        raise Unreachable(
            f"cannot go on with {file.path}: the controller answered {response.status}"
        )
    if response.headers.get("ETag", "").removeprefix("W/") != f'"{file.sha256}"':
        raise Unreachable(
            f"cannot load {file.path}: the answer is not of the controller (it has another ETag)"
        )
    with _disk(file):
        out = part.open("r+b" if start else "wb", buffering=0)
        if start:
            out.seek(start)
            out.truncate()
    try:
        at = start
        while at < file.size:
            if cancelled.is_set():
                raise Cancelled
            chunk = response.read(min(CHUNK, file.size - at))
            if not chunk:
                raise Unreachable(
                    f"cannot load {file.path} whole: the line was cut at {at:,} bytes"
                )
            with _disk(file):
                out.write(chunk)
            at += len(chunk)
            loaded(at)
        if response.read(1):
            part.unlink()
            raise BrokenFile(f"cannot use {file.path}: it has more than {file.size:,} bytes")
        with _disk(file):
            os.fsync(out.fileno())
    finally:
        out.close()


def _start(response: HTTPResponse, have: int) -> int | None:
    """From which byte the body goes; None: it cannot be used."""
    if response.status == 200:
        return 0
    if response.status == 206 and response.headers.get("Content-Range", "").startswith(
        f"bytes {have}-"
    ):
        return have
    return None


def _part(blobs: Path, file: ReleaseFile) -> Path:
    return blobs / f"{file.sha256}.part"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
