"""The dashboard put together: all its routes, and the hub that their pages share."""

from fastapi import APIRouter, Request, Response

from model_deployment.dashboard import (
    compare_page,
    deployment_page,
    endpoint_page,
    registry_pages,
)
from model_deployment.dashboard.dependencies import Dependencies
from model_deployment.dashboard.hub import EventStream, Hub
from model_deployment.dashboard.pages import Pages
from model_deployment.dashboard.static_files import StaticFiles


class Dashboard:
    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies
        self._pages = Pages(dependencies.identify)
        self._files = StaticFiles()
        self._hub = Hub(dependencies, self._pages.text, self._files.build)

    async def run(self) -> None:
        """Keep open pages fresh until cancelled."""
        await self._hub.run()

    def router(self) -> APIRouter:
        dependencies, pages, hub = self._dependencies, self._pages, self._hub
        routes, streams = pages.router(), pages.router(part=True)

        @routes.get("/")
        @routes.get("/dashboard")
        async def overview(request: Request) -> Response:
            found = await hub.page_snapshot()
            return pages.send(request, "overview", at="overview", build=hub.build, seen=found)

        @streams.get("/dashboard/events")
        async def events(request: Request) -> Response:
            user = dependencies.identify(request.scope)
            hub.admit(user)
            return EventStream(hub, user)

        for router in (
            streams,
            self._files.router(),
            registry_pages.router(dependencies, pages),
            deployment_page.router(dependencies, pages, hub),
            deployment_page.parts(dependencies, pages, hub),
            endpoint_page.router(dependencies, pages, hub),
            endpoint_page.parts(dependencies, pages),
            compare_page.router(dependencies, pages),
        ):
            routes.include_router(router)
        return routes
