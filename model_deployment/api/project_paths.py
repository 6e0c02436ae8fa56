"""The two addresses of each call about a project of devices."""

from typing import Any

from fastapi import APIRouter

#: The long one is in the description of the API. The short one is the same call: a second entry for each
#: would tell nobody anything.
_PREFIXES = (("/projects/{project}", True), ("/{project}", False))


def add_at_both(routes: APIRouter, method: str, path: str, call: Any, **described: Any) -> None:
    """Add a call at ``/projects/{project}`` and at ``/{project}``.

    Args:
        path: behind the prefix, with a slash.
        described: as FastAPI takes it: ``summary``, ``response_model``, ``responses``, …
    """
    for prefix, shown in _PREFIXES:
        if not shown:  # nor are its errors; FastAPI would build them all the same
            described = {name: value for name, value in described.items() if name != "responses"}
        routes.add_api_route(
            prefix + path, call, methods=[method], include_in_schema=shown, **described
        )
