"""The commands about the controller itself: status, open."""

import webbrowser
from typing import TYPE_CHECKING, Annotated, Any

import typer

from model_deployment import __version__
from model_deployment.cli import completion
from model_deployment.cli.connection import AsJson, Url, controller_at
from model_deployment.cli.output import answer_of, err, out, print_json
from model_deployment.rendering import numbers

if TYPE_CHECKING:
    from model_deployment.client.answers import Version


def status(as_json: AsJson = False, url: Url = "") -> None:
    """Show whether the controller works, and what room it has. Status 1 if it does not work."""
    from model_deployment.client.errors import ApiError

    client = controller_at(url)
    versions = answer_of(client.version)

    def ready() -> Any:
        try:
            return client.ready()
        except ApiError as error:
            if error.status == 503 and "last_tick_seconds" in error.problem:
                return error.problem
            raise

    shown = answer_of(ready)
    if as_json:
        print_json({"url": client.url, **versions, **shown})
    else:
        for label, text in _facts(client.url, versions, shown):
            out.print(f"{label:<12}{text}")
    if shown["status"] != "ready":
        raise typer.Exit(1)


def _facts(url: str, versions: "Version", shown: dict[str, Any]) -> list[tuple[str, str]]:
    stuck = "" if shown["status"] == "ready" else f" for {shown['last_tick_seconds']:.0f} s"
    states = ", ".join(f"{count} {state}" for state, count in shown["deployments"].items() if count)
    ports, captures = shown["ports"], shown["captures"]
    memory = shown.get("memory")
    free = memory and (
        f"{numbers.size(memory['available'])} of {numbers.size(memory['total'])} available"
    )
    stored = f"{numbers.number(captures['written'])} stored" + "".join(
        f", {numbers.number(captures[name])} {what}"
        for name, what in (("dropped", "lost"), ("dead", "refused by the document store"))
        if captures[name]
    )
    return [
        ("Controller", f"{url} is {shown['status']}{stuck}"),
        ("Versions", f"model_deployment {versions['model_deployment']} (this command line: "
                     f"{__version__}), MLflow {versions['mlflow']}"),
        ("Deployments", states or "none"),
        ("Ports", f"{ports['free']} of {ports['range']} free"),
        *([("Memory", free)] if free else []),
        ("Captures", f"{stored}: {captures['error']}" if captures["error"] else stored),
    ]  # fmt: skip


def open_(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A deployment, an endpoint or a registered model; the overview if left out.",
            autocompletion=completion.deployments_and_endpoints,
        ),
    ] = "",
    url: Url = "",
) -> None:
    """Open a page of the dashboard in a browser, and print its address."""
    from model_deployment.client.exchange import path
    from model_deployment.core.errors import ModelDeploymentError
    from model_deployment.core.names import ModelKey

    client = controller_at(url)
    where = "/dashboard"
    if "@" in name:
        where = path("/dashboard/endpoints/{}", name)
    elif name:
        try:
            ModelKey.parse(name)
            where = path("/dashboard/deployments/{}", name)
        except ModelDeploymentError:
            where = path("/dashboard/registry/{}", name)
    out.print(client.url + where)
    if not webbrowser.open(client.url + where):
        err.print("there is no browser here; open the address above")
