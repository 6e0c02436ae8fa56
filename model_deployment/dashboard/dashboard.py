"""The dashboard put together: its routes, and the hub that looks for all of them."""

import re
from collections.abc import AsyncIterator
from contextlib import ExitStack

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from model_deployment.dashboard import (
    compare_pages,
    deployment_pages,
    registry_pages,
)
from model_deployment.dashboard.dependencies import Parts
from model_deployment.dashboard.files import Files
from model_deployment.dashboard.hub import Drawing, Hub
from model_deployment.dashboard.pages import Pages

_STREAM_HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx passes on what comes as it comes
}
#: What pages name of what they know; anything else tells nothing.
_SERIAL = re.compile("[0-9]{1,18}", re.ASCII)


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
        routes.include_router(self._events())
        routes.include_router(self._files.router())
        routes.include_router(registry_pages.router(self._parts, self._pages, self._hub))
        routes.include_router(deployment_pages.router(self._parts, self._pages, self._hub))
        routes.include_router(compare_pages.router(self._parts, self._pages, self._hub))
        return routes

    def _overview(self) -> APIRouter:
        routes = APIRouter(route_class=self._pages.route_class(), include_in_schema=False)

        @routes.get("/")
        @routes.get("/dashboard")
        async def overview(request: Request) -> Response:
            view = await self._hub.view()
            return self._pages.send(
                request,
                "overview",
                view=view,
                build=self._files.build,
                serial=self._hub.serial,
                at="overview",
            )

        return routes

    def _events(self) -> APIRouter:
        routes = APIRouter(route_class=self._pages.route_class(part=True), include_in_schema=False)

        @routes.get("/dashboard/events")
        async def events(request: Request, since: str = "") -> Response:
            serial = int(since) if _SERIAL.fullmatch(since) else None
            place = ExitStack()
            place.enter_context(self._hub.viewers.one_more(self._parts.who(request.scope)))
            return _Stream(self._hub.events(serial), place)

        return routes


class _Stream(StreamingResponse):
    """Lets go of what it reads from, and of its place, however it ends."""

    media_type = "text/event-stream"

    def __init__(self, parts: AsyncIterator[bytes], place: ExitStack) -> None:
        super().__init__(parts, headers=_STREAM_HEADERS)
        self._parts = parts
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._place:
            await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        try:
            await super().stream_response(send)
        finally:
            close = getattr(self._parts, "aclose", None)
            if close is not None:
                await close()
