"""The dashboard put together: its routes, and the hub that looks for all of them."""

from collections.abc import AsyncIterator

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Send

from model_deployment.dashboard import (
    compare_pages,
    deployment_pages,
    registry_pages,
)
from model_deployment.dashboard.files import Files
from model_deployment.dashboard.hub import Drawing, Hub
from model_deployment.dashboard.pages import Pages
from model_deployment.dashboard.parts import Parts

_STREAM_HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx passes on what comes as it comes
}


class Dashboard:
    """The pages of a controller."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._pages = pages = Pages(parts.who)
        self._files = Files()
        drawing = Drawing(
            row=lambda row: pages.text("part_row", row=row),
            facts=lambda view: pages.text("part_facts", view=view),
        )
        self._hub = Hub(parts, drawing, self._files.build)

    async def run(self) -> None:
        """Look at the controller until cancelled."""
        await self._hub.run()

    def router(self) -> APIRouter:
        """All routes."""
        routes = APIRouter()
        routes.include_router(self._overview())
        routes.include_router(self._files.router())
        routes.include_router(registry_pages.router(self._parts, self._pages))
        routes.include_router(deployment_pages.router(self._parts, self._pages, self._hub))
        routes.include_router(compare_pages.router(self._parts, self._pages))
        return routes

    def _overview(self) -> APIRouter:
        routes = APIRouter(route_class=self._pages.route_class(), include_in_schema=False)

        @routes.get("/")
        @routes.get("/dashboard")
        async def overview(request: Request) -> Response:
            view = await self._hub.view()
            return self._pages.send(
                request, "overview", view=view, build=self._files.build, at="overview"
            )

        @routes.get("/dashboard/events")
        async def events() -> Response:
            self._hub.make_sure_of_room()
            return _Stream(self._hub.events())

        return routes


class _Stream(StreamingResponse):
    """Lets go of what it reads from, however it ends."""

    media_type = "text/event-stream"

    def __init__(self, parts: AsyncIterator[bytes]) -> None:
        super().__init__(parts, headers=_STREAM_HEADERS)
        self._parts = parts

    async def stream_response(self, send: Send) -> None:
        try:
            await super().stream_response(send)
        finally:
            close = getattr(self._parts, "aclose", None)
            if close is not None:
                await close()
