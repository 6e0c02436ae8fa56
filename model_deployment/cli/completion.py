"""Names for the completion of the shell, asked of the controller; none if it does not answer at once."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from model_deployment.client import Client

#: Seconds that a shell waits for names.
_DEADLINE = 1.0

Source = Callable[["Client", typer.Context], list[str]]


def _completing(source: Source) -> Callable[[typer.Context, str], list[str]]:
    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        return [name for name in _names(source, ctx) if name.startswith(incomplete)]

    return complete


def _names(source: Source, context: typer.Context) -> list[str]:
    try:
        from model_deployment.client import Client
        from model_deployment.settings import load

        settings = load()
        given: dict[str, Any] = context.params or {}
        with Client(
            given.get("url") or settings.client_url,
            settings.user,
            settings.password.get_secret_value(),
            timeout=_DEADLINE,
            connect_timeout=_DEADLINE,
            retry_for=0,
        ) as client:
            return sorted(source(client, context))
    except Exception:  # a shell that completes has no place for a message
        return []


def _deployments(client: "Client", context: typer.Context) -> list[str]:
    return [one["name"] for one in client.deployments()]


def _endpoints(client: "Client", context: typer.Context) -> list[str]:
    return [one["name"] for one in client.endpoints()]


def _models(client: "Client", context: typer.Context) -> list[str]:
    return [one["name"] for one in client.models()]


def _versions(client: "Client", context: typer.Context) -> list[str]:
    return [str(one["version"]) for one in client.versions(context.params["model"], limit=50)]


def _device_projects(client: "Client", context: typer.Context) -> list[str]:
    return [one["name"] for one in client.projects()]


def _devices(client: "Client", context: typer.Context) -> list[str]:
    return [one["name"] for one in client.devices(context.params["project"])]


def _releases(client: "Client", context: typer.Context) -> list[str]:
    return [str(one["number"]) for one in client.releases(context.params["project"], limit=50)]


deployments = _completing(_deployments)
endpoints = _completing(_endpoints)
models = _completing(_models)
versions = _completing(_versions)
device_projects = _completing(_device_projects)
devices = _completing(_devices)
releases = _completing(_releases)
deployments_and_endpoints = _completing(
    lambda client, context: _deployments(client, context) + _endpoints(client, context)
)
