"""The commands that tell devices what to do: those of ``device command`` and ``device commands``."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from model_deployment.cli import figures
from model_deployment.cli.connection import AsJson, Url, controller_at
from model_deployment.cli.device_arguments import OfGroups, Project, json_value
from model_deployment.cli.output import answer_of, out, print_json, print_table
from model_deployment.rendering import numbers

#: Devices whose names are printed after a command.
_NAMED = 10


def command(
    project: Project,
    name: Annotated[str, typer.Argument(metavar="NAME", help="For example dark.")],
    value: Annotated[
        str, typer.Argument(metavar="VALUE", help="JSON, like true or 30; other text means itself.")
    ],
    device: Annotated[
        list[str] | None,
        typer.Option(
            "--device", "-d", metavar="NAME", help="A device; may be given several times."
        ),
    ] = None,
    group: OfGroups = None,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Give devices a command; all of the project, if none are named."""
    client = controller_at(url)
    ordered = answer_of(
        lambda: client.send_command(project, name, json_value(value), devices=device, groups=group)
    )
    if as_json:
        print_json(ordered)
        return
    told = ordered["devices"]
    more = f" and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
    out.print(
        f"{name} goes to {numbers.count(len(told), 'device')}: {', '.join(told[:_NAMED])}{more}"
    )
    out.print(f"Look: model-deployment device commands {project}")


def commands(
    project: Project,
    device: Annotated[
        str | None, typer.Option("--device", "-d", metavar="NAME", help="Only to this device.")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=500, help="Newest ones.")] = 50,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Show commands and what devices answered, newest first."""
    client = controller_at(url)
    found = answer_of(lambda: client.device_commands(project, device=device, limit=limit))
    if as_json:
        print_json(found)
        return
    if not found:
        out.print("There are no commands.")
        return
    columns = ("ID", "DEVICE", "NAME", "VALUE", "AT", "BY", "STATE", "ANSWER")
    print_table(columns, map(_command_row, found))


def _command_row(one: Mapping[str, Any]) -> tuple[Any, ...]:
    state = "waits" if one["delivered_at"] is None else "sent"
    if one["ok"] is not None:
        state = "done" if one["ok"] else "failed"
    return (
        one["id"],
        one["device"],
        one["name"],
        figures.number(one["value"]),
        figures.at(one["created_at"]),
        one["created_by"],
        state,
        one["answer"],
    )
