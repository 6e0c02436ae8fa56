"""The dashboard put together: all its routes, and the hub that their pages share."""

from fastapi import APIRouter, Request, Response

from model_deployment.dashboard import (
    compare_page,
    datasets_page,
    deployment_page,
    device_page,
    endpoint_page,
    flow_settings_page,
    flows_page,
    project_page,
    projects_page,
    registry_pages,
    report_page,
    versions_page,
)
from model_deployment.dashboard.dependencies import Dependencies
from model_deployment.dashboard.hub import EventStream, Hub
from model_deployment.dashboard.pages import Pages
from model_deployment.dashboard.problem_pages import ProblemPages
from model_deployment.dashboard.static_files import StaticFiles
from model_deployment.http.asgi import App


class Dashboard:
    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies
        self._pages = Pages(dependencies.identify)
        self._files = StaticFiles()
        self._hub = Hub(dependencies, self._pages.text, self._files.build)

    async def run(self) -> None:
        """Keep open pages fresh until cancelled."""
        await self._hub.run()

    def around(self, app: App) -> App:
        """An application whose errors are pages for people who came with a browser."""
        return ProblemPages(app, self._pages.problem_page)

    def router(self) -> APIRouter:
        dependencies, pages, hub = self._dependencies, self._pages, self._hub
        routes, streams = pages.router(), pages.router(part=True)

        @routes.get("/")
        @routes.get("/dashboard")
        async def overview(request: Request) -> Response:
            found = (await hub.page_snapshot()).seen_by(dependencies.identify(request.scope))
            return pages.send(request, "overview", at="overview", build=hub.build, seen=found)

        @streams.get("/dashboard/events")
        async def events(request: Request) -> Response:
            user = dependencies.identify(request.scope)
            hub.admit(user)
            gzipped = "gzip" in request.headers.get("accept-encoding", "")
            return EventStream(hub, user, gzipped=gzipped)

        for router in (
            streams,
            self._files.router(),
            registry_pages.router(dependencies, pages),
            versions_page.router(dependencies, pages),
            deployment_page.router(dependencies, pages, hub),
            deployment_page.parts(dependencies, pages, hub),
            deployment_page.monitoring_parts(dependencies, pages),
            endpoint_page.router(dependencies, pages, hub),
            endpoint_page.parts(dependencies, pages),
            compare_page.router(dependencies, pages),
            report_page.router(dependencies, pages),
            flow_settings_page.router(dependencies, pages),
            flows_page.router(dependencies, pages),
            datasets_page.router(dependencies, pages),
            flows_page.parts(dependencies, pages),
            *self._device_routers(),
        ):
            routes.include_router(router)
        return routes

    def _device_routers(self) -> tuple[APIRouter, ...]:
        pages, hub, devices = self._pages, self._hub, self._dependencies.devices
        endpoints, traffic = self._dependencies.endpoints, self._dependencies.device_traffic
        return (
            projects_page.router(devices, pages, hub),
            project_page.router(devices, endpoints, pages, hub),
            project_page.parts(devices, pages),
            device_page.router(devices, traffic, pages, hub),
            device_page.parts(devices, traffic, pages),
        )
