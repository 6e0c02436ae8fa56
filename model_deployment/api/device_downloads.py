"""The calls with which devices load the files of releases, also in parts (RFC 9110, sections 13 and 14).

Starlette's ``FileResponse`` sends files and ranges. What it has otherwise is decided here before: the
SHA-256 is the tag, and no date is; a malformed range, or one of another unit, is ignored, and so are those
of several that the file has not (section 14.2).
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import FileResponse
from starlette.types import Receive, Scope, Send

from model_deployment.api.entity_tags import is_known
from model_deployment.api.guard import BODILESS
from model_deployment.api.parameters import Key, ProjectName
from model_deployment.api.problems import problem
from model_deployment.api.project_paths import add_at_both
from model_deployment.api.unknown_parameters import StrictRoute
from model_deployment.core.errors import ModelDeploymentError
from model_deployment.core.names import ModelKey
from model_deployment.devices.release_files import ReleaseFiles, StoredFile

#: Up to ten ranges of bytes, as RFC 9110, section 14.1.2 writes them; several are answered in parts.
_RANGE = r"(?:\d{1,18}-\d{0,18}|-\d{1,18})"
_RANGES = re.compile(rf"bytes=\s*{_RANGE}(?:\s*,\s*{_RANGE}){{0,9}}\s*", re.ASCII)

Sha256 = Annotated[str, Path(description="Of the file, 64 hexadecimal digits.", max_length=64)]
File = Annotated[
    str,
    Path(
        description="Path of the file in the manifest.", examples=["model/MLmodel"], max_length=1024
    ),
]


class RangeNotSatisfiable(ModelDeploymentError, status=416, title="Range not satisfiable"):
    """The file ends before the range begins."""

    def __init__(self, size: int) -> None:
        super().__init__(f"cannot send this range: the file has {size} bytes")
        self._size = size

    @property
    def headers(self) -> dict[str, str]:
        """With the size of the file."""
        return super().headers | {"Content-Range": f"bytes */{self._size}"}


@dataclass(frozen=True)
class DeviceDownloadCalls:
    """The handlers, and what they use."""

    files: ReleaseFiles

    async def get_blob(self, request: Request, project: ProjectName, sha256: Sha256) -> Response:
        """A file of a release of the project, by its SHA-256: what releases share has to be loaded once.
        Ranges are sent as asked for.
        """
        return await send(request, await self.files.by_digest(project, sha256))

    async def download_file(
        self, request: Request, project: ProjectName, model: Key, file: File
    ) -> Response:
        """A file of the newest release of a version, by its path in the manifest. Ranges are sent as asked
        for.
        """
        found = await self.files.by_path(project, ModelKey.parse(model), file)
        return await send(request, found)


async def send(request: Request, found: StoredFile) -> Response:
    """Answer with a file, a part of it, or that the caller has it."""
    tag = f'"{found.file.sha256}"'
    headers = {"ETag": tag, "Accept-Ranges": "bytes", "Cache-Control": "private, no-cache",
               "X-Content-Type-Options": "nosniff"}  # fmt: skip
    if is_known(tag, request.headers.get("if-none-match")):
        return Response(status_code=304, headers=headers)
    # A weak tag or a date does not say that the part that the caller has is of this file.
    same = request.headers.get("if-range", tag).strip() == tag
    asked = request.headers.get("range", "") if same else ""
    ranges = usable_ranges(asked, found.file.size)
    return await asyncio.to_thread(_SentFile, found, headers, ranges)


def usable_ranges(asked: str, size: int) -> str:
    """The ranges of a ``Range`` header that a file has; empty if the header is none of bytes.

    Raises:
        RangeNotSatisfiable: it has none of them.
    """
    if not size or not _RANGES.fullmatch(asked):
        return ""
    kept = []
    for one in asked.partition("=")[2].replace(" ", "").split(","):
        first, _, last = one.partition("-")
        if first and last and int(last) < int(first):
            return ""
        if int(first) < size if first else int(last) > 0:
            kept.append(one)
    if not kept:
        raise RangeNotSatisfiable(size)
    return f"bytes={','.join(kept)}"


class _SentFile(FileResponse):
    """A file whose tag is its SHA-256, and of which the range is known to be good."""

    def __init__(self, found: StoredFile, headers: Mapping[str, str], asked: str) -> None:
        super().__init__(
            found.path,
            headers=headers,
            media_type="application/octet-stream",
            stat_result=found.path.stat(),
        )
        # Of the time when the file was made here, which says nothing about its content.
        del self.headers["last-modified"]
        self._asked = asked.encode("ascii")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The conditions were decided, and a range that is not to be sent must not be seen.
        kept = [one for one in scope["headers"] if one[0] not in (b"range", b"if-range")]
        if self._asked:
            kept.append((b"range", self._asked))
        method = "HEAD" if scope.get(BODILESS) else scope["method"]
        await super().__call__({**scope, "headers": kept, "method": method}, receive, send)


def _answers(more: Mapping[int | str, dict[str, Any]]) -> dict[int | str, dict[str, Any]]:
    content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    tag = {"ETag": {"schema": {"type": "string"}, "description": "The SHA-256, quoted; strong."}}
    return {
        200: {"description": "The file", "content": content, "headers": tag},
        206: {"description": "The part that `Range` asks for", "content": content, "headers": tag},
        304: {"description": "The caller has the file, as `If-None-Match` says"},
        416: problem("The file ends before the range begins"),
        503: problem("The file is missing at the moment, and is fetched again"),
        **more,
    }


def router(calls: DeviceDownloadCalls) -> APIRouter:
    routes = APIRouter(tags=["devices"], route_class=StrictRoute)
    add_at_both(
        routes, "GET", "/blobs/{sha256}", calls.get_blob,
        summary="A file of a release, by its SHA-256",
        response_class=Response,
        responses=_answers({404: problem("No release of the project has such a file")}),
    )  # fmt: skip
    add_at_both(
        routes, "GET", "/download/{model}/{file:path}", calls.download_file,
        summary="A file of a release, by its path",
        response_class=Response,
        responses=_answers({404: problem("The project has no release of the version, or no such file")}),
    )  # fmt: skip
    return routes
