"""Query parameters that a call does not know are refused: a misspelt one would go unnoticed."""

from fastapi import Request
from fastapi.routing import APIRoute

from model_deployment.errors import InvalidRequest


async def known_parameters_only(request: Request) -> None:
    """A dependency of all calls.

    Raises:
        InvalidRequest: naming one that is unknown, and those that are known.
    """
    route = request.scope["route"]
    if not request.query_params or not isinstance(route, APIRoute):
        return
    known = {parameter.alias for parameter in route.dependant.query_params}
    for name in request.query_params:
        if name not in known:
            takes = f"it takes {', '.join(sorted(known))}" if known else "it takes none"
            raise InvalidRequest(f"cannot use the query parameter {name[:60]!a}: {takes}")
