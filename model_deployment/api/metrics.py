"""The figures of the controller and its deployments, for Prometheus."""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request, Response

from model_deployment.api.unknown_parameters import StrictRoute

#: Writes the page in the form that an Accept header asks for, and tells its media type.
Page = Callable[[str], Awaitable[tuple[bytes, str]]]


def router(page: Page) -> APIRouter:
    """The route."""
    routes = APIRouter(tags=["system"], route_class=StrictRoute)

    @routes.get(
        "/metrics",
        summary="Figures for Prometheus",
        response_class=Response,
        responses={
            200: {
                "description": "Prometheus' text format, or OpenMetrics where that is accepted",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            }
        },
    )
    async def metrics(request: Request) -> Response:
        content, media_type = await page(request.headers.get("accept", ""))
        headers = {"Cache-Control": "no-store", "Content-Type": media_type}
        return Response(content, headers=headers)

    return routes
