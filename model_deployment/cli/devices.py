"""The commands for devices at the edge: how one becomes one, how it does, and what it is told."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from model_deployment.cli import device_commands, figures
from model_deployment.cli.connection import AsJson, Url, controller_at
from model_deployment.cli.device_arguments import (
    Device,
    OfGroups,
    Project,
    names,
    pairs,
)
from model_deployment.cli.output import (
    answer_of,
    err,
    fail,
    out,
    print_json,
    print_table,
    printable,
    table,
)
from model_deployment.rendering import numbers

app = typer.Typer(
    no_args_is_help=True,
    help="Enrol devices at the edge, see how they do, and tell them what to do.",
)


@app.command()
def enrol(
    project: Project,
    group: OfGroups = None,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The only name that the device may take. A device of this name registers anew.",
        ),
    ] = None,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Make a code with which one device registers. It is good once, for 15 minutes."""
    client = controller_at(url)
    made = answer_of(lambda: client.enrol_device(project, groups=group or [], device=device))
    if as_json:
        print_json(made)
        return
    err.print("Run this on the device, and paste the code:")
    err.print(f"  {made['command']}")
    err.print(f"The code, until {figures.at(made['expires_at'])}:")
    out.print(made["code"])


@app.command("list")
def list_(
    project: Project,
    group: Annotated[
        str | None, typer.Option("--group", "-g", metavar="NAME", help="Only of this group.")
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(metavar="STATE", help="Only `never`, `online`, `offline` or `revoked`."),
    ] = None,
    release: Annotated[
        int | None,
        typer.Option(metavar="NUMBER", min=0, help="Only those that run it; 0: that run none."),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Only those that have it in their name or an attribute."),
    ] = None,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Show devices, and how far they are."""
    chosen: Any = {"group": group, "state": state, "release": release, "text": text}
    found = answer_of(lambda: controller_at(url).devices(project, **chosen))
    if as_json:
        print_json(found)
        return
    if not found:
        named = any(value is not None for value in chosen.values())
        out.print(
            "No device is like that."
            if named
            else f"There are no devices. Try: model-deployment device enrol {project}"
        )
        return
    columns = ("NAME", "STATE", "SEEN", "RUNS", "WANTED", "UPDATE", "AGENT", "GROUPS")
    print_table(columns, map(_row, found))


def _row(one: Mapping[str, Any]) -> tuple[Any, ...]:
    release = one["release"]
    return (
        one["name"],
        one["state"],
        figures.since(one["last_seen_at"]),
        release["running"],
        release["wanted"],
        _update(release),
        one["agent"],
        ",".join(one["groups"]),
    )


def _update(release: Mapping[str, Any]) -> str:
    state = release["state"] or ""
    if state == "downloading" and release["of"]:
        return f"{state} {numbers.percent(release['bytes'], release['of'])}"
    return f"{state}: {release['reason']}" if state in ("failed", "refused") else state


@app.command()
def show(project: Project, device: Device, as_json: AsJson = False, url: Url = "") -> None:
    """Show a device: whether it is there, what it runs, and what it has made of releases."""
    client = controller_at(url)
    found = answer_of(lambda: client.device(project, device))
    if as_json:
        print_json(found)
        return
    for line in table(("device", found["name"]), _facts(found)):
        out.print(line)
    updates = answer_of(lambda: client.device_updates(project, device))
    if updates:
        out.print()
    columns = ("RELEASE", "STATE", "SINCE", "REASON")
    rows = ((u["release"], u["state"], figures.at(u["since"]), u["reason"]) for u in updates)
    print_table(columns, rows)


def _facts(one: Mapping[str, Any]) -> list[tuple[str, Any]]:
    release = one["release"]
    seen = figures.since(one["last_seen_at"])
    return [
        ("project", one["project"]),
        ("state", f"{one['state']}, seen {seen} ago" if seen else one["state"]),
        ("runs", release["running"]),
        ("wanted", release["wanted"]),
        ("update", _update(release)),
        ("groups", ", ".join(one["groups"])),
        ("agent", one["agent"]),
        ("registered", figures.at(one["created_at"])),
        *((name, figures.number(value)) for name, value in one["attributes"].items()),
        *((name, figures.number(value)) for name, value in one["health"].items()),
    ]


@app.command()
def logs(
    project: Project,
    device: Device,
    lines: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="Last lines.")] = 100,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Show the last lines of a device's log. Times are those of its clock."""
    found = answer_of(lambda: controller_at(url).device_logs(project, device, lines=lines))
    if as_json:
        print_json(found)
        return
    if not found:
        err.print(f"{device} has sent no log")
        return
    columns = ("AT", "LEVEL", "TEXT")
    print_table(columns, ((figures.at(one["at"]), one["level"], one["text"]) for one in found))


@app.command()
def revoke(project: Project, device: Device, as_json: AsJson = False, url: Url = "") -> None:
    """Shut a device out: its token is no longer good from now on."""
    found = answer_of(lambda: controller_at(url).revoke_device(project, device))
    if as_json:
        print_json(found)
        return
    out.print(f"{found['name']} is revoked; it comes back with the code that this command makes:")
    out.print(f"  model-deployment device enrol {project} --device {found['name']}")


@app.command()
def rotate(project: Project, device: Device, as_json: AsJson = False, url: Url = "") -> None:
    """Give a device another token, which is shown once; the one before is no longer good."""
    found = answer_of(lambda: controller_at(url).rotate_device(project, device))
    if as_json:
        print_json(found)
        return
    err.print(f"The new token of {found['device']}, which is shown only now:")
    out.print(found["token"])


@app.command()
def delete(project: Project, device: Device, url: Url = "") -> None:
    """Forget a device, with its log, updates and commands."""
    answer_of(lambda: controller_at(url).delete_device(project, device))
    out.print(f"{device} is deleted")


@app.command("groups")
def groups_(
    project: Project,
    device: Device,
    groups: Annotated[
        str | None,
        typer.Argument(
            metavar="[GROUPS]", help="All its groups, like `canary,hall-3`; `none`: no group."
        ),
    ] = None,
    add: Annotated[
        list[str] | None, typer.Option("--add", metavar="NAME", help="One more group.")
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", metavar="NAME", help="One group less.")
    ] = None,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Show or change the groups of a device."""
    client = controller_at(url)
    if groups is not None and (add or remove):
        fail("cannot change the groups: give either all of them, or --add and --remove", 2)
    found = answer_of(lambda: client.device(project, device))
    if groups is not None or add or remove:
        kept = found["groups"] if groups is None else names(groups)
        wanted = [one for one in dict.fromkeys([*kept, *(add or ())]) if one not in (remove or ())]
        found = answer_of(lambda: client.change_device(project, device, groups=wanted))
    if as_json:
        print_json(found)
        return
    out.print(f"{found['name']}: {', '.join(found['groups']) or 'no group'}")


@app.command("attributes")
def attributes_(
    project: Project,
    device: Device,
    attributes: Annotated[
        list[str],
        typer.Argument(metavar="NAME=VALUE...", help="All its attributes, like place=hall3."),
    ],
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Replace the attributes of a device."""
    given = pairs(attributes)
    found = answer_of(lambda: controller_at(url).change_device(project, device, attributes=given))
    if as_json:
        print_json(found)
        return
    told = ", ".join(f"{name}={value}" for name, value in found["attributes"].items())
    out.print(printable(f"{found['name']}: {told}"))


app.command()(device_commands.command)
app.command()(device_commands.commands)
