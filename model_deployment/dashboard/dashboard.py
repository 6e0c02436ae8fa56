"""The dashboard put together: all its routes, and the hub that their pages share."""

from fastapi import APIRouter, Request, Response

from model_deployment.dashboard import compare_page, deployment_page, registry_pages
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
        routes = APIRouter()
        routes.include_router(self._overview())
        routes.include_router(self._events())
        routes.include_router(self._files.router())
        routes.include_router(registry_pages.router(self._dependencies, self._pages))
        routes.include_router(deployment_page.router(self._dependencies, self._pages, self._hub))
        routes.include_router(deployment_page.parts(self._dependencies, self._pages, self._hub))
        routes.include_router(compare_page.router(self._dependencies, self._pages))
        return routes

    def _overview(self) -> APIRouter:
        routes = self._pages.router()

        @routes.get("/")
        @routes.get("/dashboard")
        async def overview(request: Request) -> Response:
            return self._pages.send(
                request,
                "overview",
                at="overview",
                build=self._files.build,
                overview=await self._hub.overview(),
            )

        return routes

    def _events(self) -> APIRouter:
        routes = self._pages.router(part=True)

        @routes.get("/dashboard/events")
        async def events() -> Response:
            self._hub.admit()
            return EventStream(self._hub)

        return routes
