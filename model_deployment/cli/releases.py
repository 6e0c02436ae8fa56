"""The commands for releases: what devices should run, and how a new one reaches them."""

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from model_deployment.cli import completion, figures, release_view
from model_deployment.cli.connection import AsJson, Url, controller_at
from model_deployment.cli.device_arguments import (
    Abort,
    Groups,
    Number,
    Percent,
    Project,
    Soak,
    Success,
    release_policy,
)
from model_deployment.cli.live_view import show_until_end
from model_deployment.cli.output import (
    answer_of,
    err,
    fail,
    out,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from model_deployment.client import Client
    from model_deployment.client.answers import SetRelease

app = typer.Typer(
    no_args_is_help=True,
    help="Say what devices at the edge should run, and see how it reaches them.",
)

Follow = Annotated[
    bool,
    typer.Option(
        "--follow",
        "-f",
        metavar="",
        help="Show the release until it is decided; status 1 if it was stopped or failed.",
    ),
]
#: Seconds between two looks at a release.
_EVERY = 1.0


@app.command("set")
def set_(
    project: Project,
    version: Annotated[int, typer.Argument(metavar="VERSION", help="Of a model.", min=1)],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="Of the project; the only one if left out.",
            autocompletion=completion.models,
        ),
    ] = None,
    groups: Groups = None,
    percent: Percent = None,
    success: Success = None,
    soak: Soak = None,
    abort: Abort = None,
    follow: Follow = False,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Release a version to the devices of a project; it takes the place of a release under way."""
    client = controller_at(url)
    policy = release_policy(groups, percent, success, soak, abort)
    begun = answer_of(lambda: client.set_model(project, version, model=model, policy=policy))
    _begun(client, begun, follow=follow, as_json=as_json)


@app.command("follow")
def follow_endpoint(
    project: Project,
    endpoint: Annotated[
        str,
        typer.Argument(
            metavar="MODEL@ALIAS",
            help="For example diabetes@champion.",
            autocompletion=completion.endpoints,
        ),
    ],
    groups: Groups = None,
    percent: Percent = None,
    success: Success = None,
    soak: Soak = None,
    abort: Abort = None,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Release each version that an endpoint serves, from now on."""
    client = controller_at(url)
    policy = release_policy(groups, percent, success, soak, abort)
    begun = answer_of(lambda: client.follow_endpoint(project, endpoint, policy=policy))
    if begun["release"] is None and not as_json:
        out.print(f"{project} follows {endpoint}, which serves no version yet")
        return
    _begun(client, begun, follow=False, as_json=as_json)


@app.command("unfollow")
def unfollow(project: Project, as_json: AsJson = False, url: Url = "") -> None:
    """Follow no endpoint any more; the newest release stays."""
    found = answer_of(lambda: controller_at(url).unfollow_endpoint(project))
    if as_json:
        print_json(found)
        return
    out.print(f"{project} follows no endpoint")


def _begun(client: "Client", begun: "SetRelease", *, follow: bool, as_json: bool) -> None:
    release = begun["release"]
    if release is None or (as_json and not follow):
        print_json(begun)
        return
    project, number = begun["project"], release["number"]
    followed = f", as {release['endpoint']} does" if release["endpoint"] else ""
    err.print(f"{release_view.title(release)} begins{followed}")
    if follow:
        _follow(client, project, number, as_json=as_json)
    else:
        out.print(f"Look: model-deployment release show {project} {number} --follow")


@app.command("list")
def list_(
    project: Project,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Number of newest ones.")] = 20,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Show the releases of a project, newest first."""
    found = answer_of(lambda: controller_at(url).releases(project, limit=limit))
    if as_json:
        print_json(found)
        return
    if not found:
        out.print(f"There are no releases. Try: model-deployment release set {project} VERSION")
        return
    columns = ("NUMBER", "VERSION", "STATE", "STAGE", "SINCE", "BY", "REASON")
    print_table(columns, map(_row, found))


def _row(one: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        one["number"],
        release_view.version(one),
        one["state"],
        f"{one['stage'] + 1}/{one['stage_count']}",
        figures.at(one["since"]),
        one["endpoint"] or one["created_by"],
        one["reason"],
    )


@app.command()
def show(
    project: Project,
    number: Annotated[
        int | None,
        typer.Argument(
            metavar="NUMBER",
            help="Of a release; the newest one if left out.",
            min=1,
            autocompletion=completion.releases,
        ),
    ] = None,
    follow: Follow = False,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Show a release: its stages, and how far their devices are."""
    client = controller_at(url)
    if number is None:
        newest = answer_of(lambda: client.releases(project, limit=1))
        if not newest:
            fail(
                f"cannot show a release of {project}: there is none; begin one with "
                f"'model-deployment release set {project} VERSION'"
            )
        number = newest[0]["number"]
    if follow:
        _follow(client, project, number, as_json=as_json)
        return
    _print_release(answer_of(lambda: client.release(project, number)), as_json=as_json)


def _print_release(found: Any, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    for line in release_view.lines(found):
        out.print(line)


def _follow(client: "Client", project: str, number: int, *, as_json: bool) -> None:
    """Show a release until it is decided: in place on a terminal, else a line for each change."""
    looks = _looks(client, project, number)
    last = show_until_end(
        looks, release_view.lines, release_view.progress, what="release", as_json=as_json
    )
    if not release_view.complete(last):
        raise typer.Exit(1)


def _looks(client: "Client", project: str, number: int) -> Iterator[Any]:
    while True:
        shown = answer_of(lambda: client.release(project, number))
        yield shown
        if not shown["active"]:
            return
        time.sleep(_EVERY)


@app.command()
def pause(project: Project, number: Number, as_json: AsJson = False, url: Url = "") -> None:
    """Open no further stage; devices of open stages go on."""
    found = answer_of(lambda: controller_at(url).pause_release(project, number))
    _steered(found, as_json=as_json)


@app.command()
def resume(project: Project, number: Number, as_json: AsJson = False, url: Url = "") -> None:
    """Let a paused release go on."""
    found = answer_of(lambda: controller_at(url).resume_release(project, number))
    _steered(found, as_json=as_json)


@app.command()
def stop(project: Project, number: Number, as_json: AsJson = False, url: Url = "") -> None:
    """Stop a release; the last complete version follows, for all devices at once."""
    found = answer_of(lambda: controller_at(url).stop_release(project, number))
    _steered(found, as_json=as_json)


def _steered(found: Any, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        out.print(release_view.progress(found))
