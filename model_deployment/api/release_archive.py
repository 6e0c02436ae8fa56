"""The files of a release as one archive, for devices that load them in one go."""

import asyncio
import json
import tarfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import BinaryIO

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from model_deployment.api.entity_tags import is_known
from model_deployment.api.guard import BODILESS
from model_deployment.core.errors import NotFound
from model_deployment.devices.manifest import ReleaseManifest
from model_deployment.devices.outbox import signed_release
from model_deployment.devices.polling import ActiveModel
from model_deployment.devices.release_files import ReleaseFiles, StoredFile

#: The first member of an archive: the manifest with its signature, as sockets carry it.
SIGNED = "release.json"
#: Bytes that are read at once. Members begin at multiples of a block; two empty ones end the archive.
_PORTION, _BLOCK = 256 * 1024, tarfile.BLOCKSIZE


@dataclass(frozen=True)
class ReleaseArchives:
    """Sends archives (POSIX.1-2001, pax): ``release.json``, then the files in the order of the manifest."""

    files: ReleaseFiles

    async def send(self, request: Request, active: ActiveModel) -> Response:
        """Answer with the archive of what a device should run.

        Raises:
            NotFound: nothing is wanted.
            Unavailable: a file is missing at the moment.
        """
        release = active.release
        if release is None:
            raise NotFound(f"cannot send files: no release is wanted on {active.device.name}")
        # Of the manifest and the key: the same bytes follow from the same ones.
        tag = f'"{active.key}-{release.number}-{release.signature[:32]}"'
        headers = {"ETag": tag, "Accept-Ranges": "none", "Cache-Control": "private, no-cache"}
        if is_known(tag, request.headers.get("if-none-match")):
            return Response(status_code=304, headers=headers)
        manifest = await asyncio.to_thread(ReleaseManifest.parse, release.manifest)
        signed = json.dumps(signed_release(release, active.key)).encode()
        stored = [await self.files.stored(release, file) for file in manifest.files]
        modified = int(manifest.created.timestamp())
        parts = [(_head(SIGNED, len(signed), modified), signed)]
        rest = [(_head(one.file.path, one.file.size, modified), one) for one in stored]
        size = sum(len(head) + _padded(len(body)) for head, body in parts)
        size += sum(len(head) + _padded(one.file.size) for head, one in rest) + 2 * _BLOCK
        headers["Content-Length"] = str(size)
        name = f"{manifest.project}-{manifest.number}.tar"
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return _Archive(_pieces(parts, rest), headers)


class _Archive(StreamingResponse):
    """Closes its source, however the answer ends."""

    def __init__(self, pieces: AsyncGenerator[bytes, None], headers: dict[str, str]) -> None:
        super().__init__(pieces, headers=headers, media_type="application/x-tar")
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._pieces):
            if scope.get(BODILESS):
                await Response(headers=dict(self.headers))(scope, receive, send)
            else:
                await super().__call__(scope, receive, send)


async def _pieces(
    parts: Sequence[tuple[bytes, bytes]], rest: Sequence[tuple[bytes, StoredFile]]
) -> AsyncGenerator[bytes, None]:
    for head, body in parts:
        yield head + body + _padding(len(body))
    for head, one in rest:
        yield head
        file = await asyncio.to_thread(one.path.open, "rb")
        with file:
            async for piece in _read(file, one.file.size):
                yield piece
        yield _padding(one.file.size)
    yield bytes(2 * _BLOCK)


async def _read(file: BinaryIO, size: int) -> AsyncGenerator[bytes, None]:
    """The file, whose size was told already: one that is shorter by now breaks the answer off."""
    left = size
    while left:
        piece = await asyncio.to_thread(file.read, min(_PORTION, left))
        if not piece:
            raise EOFError(f"{file.name} became shorter while it was sent")
        left -= len(piece)
        yield piece


def _head(path: str, size: int, modified: int) -> bytes:
    member = tarfile.TarInfo(path)
    member.size, member.mtime, member.mode = size, modified, 0o644
    return member.tobuf(tarfile.PAX_FORMAT)


def _padded(size: int) -> int:
    return size + len(_padding(size))


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)
