"""The commands for endpoints: what they serve, and the rollouts of new versions."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from model_deployment.cli import comparison_view, completion, endpoint_view
from model_deployment.cli.connection import AsJson, Url, controller_at
from model_deployment.cli.live_view import show_until_end
from model_deployment.cli.option_flags import with_option_flags
from model_deployment.cli.output import (
    answer_of,
    out,
    print_json,
    print_table,
    writing,
)
from model_deployment.cli.policy_flags import changed, with_policy_flags
from model_deployment.core.options import Options

if TYPE_CHECKING:
    from model_deployment.client import Client
    from model_deployment.client.sync.endpoints import Steering

app = typer.Typer(
    no_args_is_help=True,
    help="Serve what an alias of the registry names, and steer the rollouts of new versions.",
)

Name = Annotated[
    str,
    typer.Argument(
        metavar="MODEL@ALIAS",
        help="For example diabetes@champion.",
        autocompletion=completion.endpoints,
    ),
]

#: Seconds between two looks at a rollout.
_EVERY = 1.0
#: Seconds within which the controller notices an alias that has moved.
_BEGINS = 10.0


@app.command("set")
@with_policy_flags
@with_option_flags(Options)
def set_(name: Name, url: Url = "", **flags: Any) -> None:
    """Make an endpoint, or change its policy. What is not named stays as it is.

    Deploy options are those of the deployments that the endpoint makes.
    """
    client = controller_at(url)
    policy: Any = changed(answer_of(lambda: _policy(client, name)), flags)
    shown, new = answer_of(lambda: client.put_endpoint(name, policy))
    out.print(f"{name} is {'made' if new else 'changed'}: {shown['url']}")
    out.print(shown["status"])


def _policy(client: "Client", name: str) -> dict[str, Any]:
    """The policy of an endpoint; empty if there is no such endpoint."""
    from model_deployment.client.errors import ApiError

    try:
        return dict(client.endpoint(name)["policy"])
    except ApiError as error:
        if error.status == 404:
            return {}
        raise


@app.command("list")
def list_(as_json: AsJson = False, url: Url = "") -> None:
    """Show the endpoints."""
    endpoints = answer_of(lambda: controller_at(url).endpoints())
    if as_json:
        print_json(endpoints)
        return
    if not endpoints:
        out.print("There are no endpoints. Try: model-deployment endpoint set MODEL@ALIAS")
        return
    rows = (
        (
            one["name"],
            "yes" if one["default"] else "",
            one["champion"],
            one["status"],
        )
        for one in endpoints
    )
    print_table(("NAME", "DEFAULT", "SERVES", "STATUS"), rows)


@app.command()
def show(
    name: Name,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            "-f",
            metavar="",
            help="Show the rollout until it ends, or none begins; status 1 if it was rolled back.",
        ),
    ] = False,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Show what an endpoint serves, and what is on its way and why."""
    client = controller_at(url)
    if follow:
        _follow(client, name, as_json=as_json)
        return
    print_endpoint(client, name, as_json=as_json)


def print_endpoint(client: "Client", name: str, *, as_json: bool) -> None:
    shown = answer_of(lambda: client.endpoint(name))
    if as_json:
        print_json(shown)
        return
    for line in endpoint_view.lines(shown):
        out.print(line)


def _follow(client: "Client", name: str, *, as_json: bool) -> None:
    """Show a rollout until it ends: in place on a terminal, else a line for each change."""
    looks = _looks(client, name)
    last = show_until_end(
        looks, endpoint_view.lines, endpoint_view.progress, what="rollout", as_json=as_json
    )
    if not endpoint_view.promoted(last):
        raise typer.Exit(1)


def _looks(client: "Client", name: str) -> Iterator[Any]:
    """The endpoint, again and again, until its rollout has ended, or none has begun for a while."""
    began, seen = time.monotonic(), False
    while True:
        shown = answer_of(lambda: client.endpoint(name))
        yield shown
        ended = endpoint_view.ended(shown)
        if ended and (seen or time.monotonic() - began >= _BEGINS):
            return
        seen = seen or not ended
        time.sleep(_EVERY)


@app.command()
def promote(name: Name, as_json: AsJson = False, url: Url = "") -> None:
    """Make the candidate the champion now, whatever its rollout waits for."""
    _steer(name, "promote", url, as_json=as_json)


@app.command()
def pause(name: Name, as_json: AsJson = False, url: Url = "") -> None:
    """Keep the rollout where it is; the guards stay on."""
    _steer(name, "pause", url, as_json=as_json)


@app.command()
def resume(name: Name, as_json: AsJson = False, url: Url = "") -> None:
    """Let a paused rollout go on."""
    _steer(name, "resume", url, as_json=as_json)


@app.command()
def rollback(name: Name, as_json: AsJson = False, url: Url = "") -> None:
    """Go back to the champion; without a rollout, to the previous champion."""
    _steer(name, "rollback", url, as_json=as_json)


def _steer(name: str, order: "Steering", url: str, *, as_json: bool) -> None:
    shown = answer_of(lambda: controller_at(url).steer(name, order))
    if as_json:
        print_json(shown)
    else:
        out.print(f"{shown['name']}: {shown['status']}")


@app.command()
def default(
    name: Name,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Stop waiting after this time.")
    ] = 60,
    url: Url = "",
) -> None:
    """Let an endpoint answer at the address without an alias too; makes the endpoint if there is none."""
    model, _, alias = name.partition("@")
    client = controller_at(url)
    shown = answer_of(lambda: client.set_default(alias, model=model, wait=timeout))
    out.print(f"{shown['name']} is the default endpoint of {shown['model']}: {shown['status']}")


@app.command()
def delete(name: Name, url: Url = "") -> None:
    """Delete an endpoint, and undeploy what it alone has deployed."""
    answer_of(lambda: controller_at(url).delete_endpoint(name, wait=60.0))
    out.print(f"{name} is deleted")


@app.command()
def compare(
    name: Name,
    rollout: Annotated[
        int | None, typer.Option(help="Id of a rollout; the newest one if left out.", min=1)
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the page to this file.")
    ] = None,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Compare the champion with the candidate; the verdict comes first."""
    client = controller_at(url)
    if html is not None:
        page = answer_of(lambda: client.comparison_page(name, rollout=rollout))
        with writing(html):
            html.write_bytes(page)
        return
    found = answer_of(lambda: client.comparison(name, rollout=rollout))
    if as_json:
        print_json(found)
        return
    out.print(comparison_view.headline(found))
    print_table(comparison_view.COLUMNS, comparison_view.rows(found))
    for line in comparison_view.remarks(found):
        out.print(line)
