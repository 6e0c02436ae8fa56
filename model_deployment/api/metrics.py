"""The call that Prometheus scrapes."""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request, Response

from model_deployment.api.unknown_parameters import StrictRoute

#: Writes the page in a format that an ``Accept`` header names; returns it with its media type.
Page = Callable[[str], Awaitable[tuple[bytes, str]]]

_EXAMPLE = """\
# HELP model_deployment_proxies Proxies that serve.
# TYPE model_deployment_proxies gauge
model_deployment_proxies 1.0
"""


def router(page: Page) -> APIRouter:
    routes = APIRouter(tags=["system"], route_class=StrictRoute)

    @routes.get(
        "/metrics",
        summary="Metrics for Prometheus",
        response_class=Response,
        responses={
            200: {
                "description": "Prometheus text format, or OpenMetrics if the request accepts it",
                "content": {"text/plain": {"schema": {"type": "string"}, "example": _EXAMPLE}},
            }
        },
    )
    async def metrics(request: Request) -> Response:
        content, media_type = await page(request.headers.get("accept", ""))
        headers = {"Cache-Control": "no-store", "Content-Type": media_type}
        return Response(content, headers=headers)

    return routes
