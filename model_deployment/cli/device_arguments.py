"""What the commands for projects, devices and releases take: names, and how a release reaches devices."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from model_deployment.cli import completion

if TYPE_CHECKING:
    from model_deployment.client.answers import ReleasePolicyIn

Project = Annotated[
    str,
    typer.Argument(
        metavar="PROJECT",
        help="Name of a project of devices.",
        autocompletion=completion.device_projects,
    ),
]
Device = Annotated[
    str,
    typer.Argument(metavar="DEVICE", help="Name of a device.", autocompletion=completion.devices),
]
Number = Annotated[
    int,
    typer.Argument(
        metavar="NUMBER", help="Of a release.", min=1, autocompletion=completion.releases
    ),
]
OfGroups = Annotated[
    list[str] | None,
    typer.Option("--group", "-g", metavar="NAME", help="A group; may be given several times."),
]
Groups = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,...",
        help="Groups that get the release first, one stage each, in this order (default: canary); `none`: "
        "no group.",
    ),
]
Percent = Annotated[
    str | None,
    typer.Option(
        metavar="PERCENT,...",
        help="Then shares of the other devices, like `10,50` (default: 10); `none`: all of them at once.",
    ),
]
Success = Annotated[
    float | None,
    typer.Option(
        metavar="PERCENT",
        help="Of the devices of the open stages, that have to run it before the next stage (default: 90).",
    ),
]
Soak = Annotated[
    str | None,
    typer.Option(
        metavar="SECONDS", help="That a stage rests after that (default: 0). Or text like `10m`."
    ),
]
Abort = Annotated[
    str | None,
    typer.Option(
        metavar="FAILED/OF",
        help="Stop once FAILED devices have failed, and they are at least FAILED of OF of those that have "
        "told how it went (default: 2/10).",
    ),
]


def release_policy(
    groups: str | None,
    percent: str | None,
    success: float | None,
    soak: str | None,
    abort: str | None,
) -> "ReleasePolicyIn | None":
    """The members of a policy that flags name; None if they name none.

    Raises:
        typer.BadParameter: a flag has another form.
    """
    found: dict[str, Any] = {}
    if groups is not None:
        found["groups"] = names(groups)
    if percent is not None:
        found["percent"] = [_number(one, "--percent") for one in names(percent)]
    if success is not None:
        found["success"] = success
    if soak is not None:
        found["soak"] = _duration(soak)
    if abort is not None:
        failed, slash, of = abort.partition("/")
        if not (slash and failed.isdecimal() and of.isdecimal()):
            raise typer.BadParameter(f"--abort is {abort!r}; write it like 2/10")
        found["abort"] = {"failed": int(failed), "of": int(of)}
    policy: Any = found or None
    return policy  # type: ignore[no-any-return] # the controller checks it


def names(text: str) -> list[str]:
    """``a,b`` as a list; ``none`` and nothing are an empty one."""
    found = [one.strip() for one in text.split(",")]
    return [] if found in ([""], ["none"]) else found


def json_value(text: str) -> Any:
    """A value as JSON; other text means itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def pairs(given: list[str]) -> Mapping[str, Any]:
    """``NAME=VALUE`` of each.

    Raises:
        typer.BadParameter: one has another form.
    """
    found = {}
    for one in given:
        name, sign, value = one.partition("=")
        if not (name and sign):
            raise typer.BadParameter(f"{one!r} is no attribute; write it like place=hall3")
        found[name] = json_value(value)
    return found


def _number(text: str, flag: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{flag} has {text!r}; write percentages like 10,50") from None


def _duration(text: str) -> float | str:
    """A bare number as one: other text is a duration that names its units."""
    try:
        return float(text)
    except ValueError:
        return text
