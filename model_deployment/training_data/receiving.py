"""Writes the file of an upload to the disk while it arrives, and computes its SHA-256."""

import asyncio
import errno
import hashlib
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from model_deployment.core.errors import DiskFull, ModelDeploymentError, PayloadTooLarge

#: Bytes that are written at once.
_PORTION = 1024 * 1024
#: Bytes that have to stay free on the disk, for the state of the controller.
_SPARE = 64 * 1024 * 1024
#: Seconds without a byte after which an upload is given up.
_PAUSE = 60.0
#: Bytes a second that a caller has to send on the average, once a pause has gone by: a trickle holds one of
#: few places.
_SLOWEST = 4096.0


class UploadTimeout(ModelDeploymentError, status=408, title="Request timeout"):
    """The caller began to send a file and stopped."""


def too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"cannot keep this file: it is larger than {limit} bytes (MODEL_DEPLOYMENT_MAX_UPLOAD_BYTES). "
        "Send Parquet, fewer rows, or raise the limit"
    )


def disk_full(error: OSError | None = None) -> DiskFull:
    return DiskFull(
        "cannot keep this file: the disk of the data directory is full. Nothing was kept; free some "
        "space, or delete versions of the training data (DELETE /datasets/{sha256})"
    )


def is_full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def ensure_room(folder: Path, declared: int | None, limit: int) -> None:
    """Refuse a file before it is sent.

    Args:
        declared: bytes that the headers announce.
        limit: bytes that a file may have.

    Raises:
        PayloadTooLarge, DiskFull: there is no room for it.
    """
    if declared is not None and declared > limit + _form_bytes(limit):
        raise too_large(limit)
    if shutil.disk_usage(folder).free < (declared or 0) + _SPARE:
        raise disk_full()


def _form_bytes(limit: int) -> int:
    """What a form may have around the file."""
    return min(limit, 8192)


async def receive(
    pieces: AsyncIterator[bytes],
    target: Path,
    *,
    limit: int,
    pause: float = _PAUSE,
    slowest: float = _SLOWEST,
) -> tuple[str, int]:
    """Write a file.

    Args:
        limit: bytes that it may have.
        pause: seconds that the caller may send nothing.
        slowest: bytes a second that have to come on the average, but for one pause.

    Returns:
        Its SHA-256 and its bytes.

    Raises:
        PayloadTooLarge: it has more; the rest is not read.
        UploadTimeout: the rest does not come, or too slowly.
        DiskFull: there is no room for it.
    """
    digest = hashlib.sha256()
    size = 0
    began = time.monotonic()
    source = aiter(pieces)
    portion = bytearray()
    try:
        with target.open("xb", buffering=0) as file:
            while True:
                try:
                    async with asyncio.timeout(pause):
                        piece = await anext(source, None)
                except TimeoutError:
                    raise UploadTimeout(
                        f"cannot wait for the file: nothing came for {pause:g} s after {size} bytes. "
                        "Nothing was kept"
                    ) from None
                if piece is not None:
                    size += len(piece)
                    if size > limit:
                        raise too_large(limit)
                    if time.monotonic() - began > pause + size / slowest:
                        raise UploadTimeout(
                            f"cannot wait for the file: less than {slowest:g} bytes a second came. "
                            "Nothing was kept"
                        )
                    portion += piece
                if portion and (piece is None or len(portion) >= _PORTION):
                    await asyncio.to_thread(_write, file, digest, bytes(portion))
                    portion.clear()
                if piece is None:
                    return digest.hexdigest(), size
    except OSError as error:
        if is_full(error):
            raise disk_full(error) from error
        raise


def _write(file: Any, digest: Any, portion: bytes) -> None:
    digest.update(portion)
    left = memoryview(portion)
    while left:
        left = left[file.write(left) :]
