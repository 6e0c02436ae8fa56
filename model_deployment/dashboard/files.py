"""Scripts, styles and the icon: read once, sent with a tag of their content."""

import hashlib
from pathlib import Path

from fastapi import APIRouter, Request, Response

from model_deployment.core.errors import NotFound
from model_deployment.dashboard.pages import packed

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Files:
    """The folder ``static``, in memory."""

    def __init__(self) -> None:
        folder = Path(__file__).parent / "static"
        self._files = {
            file.name: (file.read_bytes(), _TYPES[file.suffix])
            for file in sorted(folder.iterdir())
            if file.suffix in _TYPES
        }
        #: Names all of them as they are.
        self.build = _tag(b"".join(content for content, _ in self._files.values()))

    def router(self) -> APIRouter:
        """The route."""
        routes = APIRouter()

        @routes.get("/dashboard/static/{file}", include_in_schema=False)
        async def static(request: Request, file: str) -> Response:
            found = self._files.get(file)
            if found is None:
                raise NotFound("cannot find this file of the dashboard")
            content, media_type = found
            tag = f'"{_tag(content)}"'
            # Asked about each time, so that pages and scripts of two releases never meet.
            headers = {"ETag": tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
            known = request.headers.get("if-none-match", "").replace("W/", "")
            if known == tag:
                return Response(status_code=304, headers=headers)
            return packed(request, content, media_type, headers=headers)

        return routes


def _tag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
