"""Scripts, styles and the icon: read once, sent with an ETag."""

import hashlib
from pathlib import Path

from fastapi import APIRouter, Request, Response

from model_deployment.core.errors import NotFound
from model_deployment.dashboard.pages import compressed
from model_deployment.degradation.page.render import STYLE

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class StaticFiles:
    """The files of the folder ``static``, and the style of reports, in memory."""

    def __init__(self) -> None:
        folder = Path(__file__).parent / "static"
        self._files = {
            file.name: (file.read_bytes(), _TYPES[file.suffix])
            for file in [*sorted(folder.iterdir()), STYLE]
            if file.suffix in _TYPES
        }
        #: A hash of all files: pages reload themselves when it changes.
        self.build = _tag(b"".join(content for content, _ in self._files.values()))

    def router(self) -> APIRouter:
        routes = APIRouter()

        @routes.get("/dashboard/static/{file}", include_in_schema=False)
        async def static(request: Request, file: str) -> Response:
            found = self._files.get(file)
            if found is None:
                raise NotFound(f"cannot find {file}: the dashboard has no such file")
            content, media_type = found
            tag = f'"{_tag(content)}"'
            # Browsers check each time, so that a page never gets scripts of another release.
            headers = {"ETag": tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
            known = request.headers.get("if-none-match", "").replace("W/", "")
            if known == tag:
                return Response(status_code=304, headers=headers)
            return compressed(request, content, media_type, headers=headers)

        return routes


def _tag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
