"""The commands that show what a model has written and raised: logs, launches, errors."""

import sys
import time
from typing import Annotated, Any

import typer

from model_deployment.cli import figures
from model_deployment.cli.connection import AsJson, Name, Since, Until, Url, controller_at
from model_deployment.cli.following import appended
from model_deployment.cli.output import (
    INTERRUPTED,
    answer_of,
    out,
    print_json,
    print_table,
    print_text,
)
from model_deployment.rendering import numbers

#: Seconds between two looks at a log.
_EVERY = 1.0


def errors(
    name: Name,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, help="Number of newest ones.")] = 20,
    traceback: Annotated[
        bool,
        typer.Option("--traceback", metavar="", help="With the traceback of each exception."),
    ] = False,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Show the exceptions that a model has raised, newest last."""
    client = controller_at(url)
    found = answer_of(lambda: client.errors(name, since=since, until=until, limit=limit))
    if as_json:
        print_json(found)
        return
    if not found:
        out.print(f"{name} has raised no exception in this time")
    elif traceback:
        for one in reversed(found):
            times = numbers.count(one["count"], "time")
            out.print(
                f"{figures.at(one['last_at'])}: {times}, first at {figures.at(one['first_at'])}"
            )
            print_text(one["traceback"] or f"{one['exception']}: {one['message']}")
            out.print(f"requests: {', '.join(one['request_ids'])}\n")
    else:
        columns = ("LAST AT", "COUNT", "REQUEST", "EXCEPTION")
        print_table(
            columns,
            (
                (
                    figures.at(one["last_at"]),
                    one["count"],
                    next(iter(one["request_ids"]), ""),
                    f"{one['exception']}: {one['message']}",
                )
                for one in reversed(found)
            ),
        )


def logs(
    name: Name,
    lines: Annotated[int, typer.Option(help="Number of last lines.", min=1, max=10_000)] = 100,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", metavar="", help="Print new lines too.")
    ] = False,
    launch: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="Of an earlier launch; 'model-deployment launches' has ids."
        ),
    ] = None,
    replica: Annotated[
        int | None,
        typer.Option(metavar="NUMBER", min=0, help="Of this replica, from 0; default: the first."),
    ] = None,
    search: Annotated[str | None, typer.Option(help="Only lines with this text.")] = None,
    level: Annotated[
        str | None, typer.Option(help="Only lines of this level and above: info, warning, error.")
    ] = None,
    since: Since = None,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Show the end of a model's log."""
    client = controller_at(url)
    chosen: dict[str, Any] = {
        "launch": launch,
        "replica": replica,
        "search": search,
        "level": level,
        "since": since,
    }
    if as_json:
        print_json(answer_of(lambda: client.log_lines(name, lines=lines, **chosen)))
        return
    log = answer_of(lambda: client.logs(name, lines=lines, **chosen))
    sys.stdout.write(log.text)
    try:
        while follow:
            sys.stdout.flush()
            time.sleep(_EVERY)
            newer = answer_of(lambda: client.logs(name, lines=2000, **chosen))
            same = newer.launch_id == log.launch_id
            sys.stdout.write(appended(log.text, newer.text) if same else newer.text)
            log = newer
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def launches(name: Name, as_json: AsJson = False, url: Url = "") -> None:
    """Show the starts of a deployment whose logs are kept, newest last."""
    client = controller_at(url)
    found = answer_of(lambda: client.launches(name))
    if as_json:
        print_json(found)
        return
    numbered = any(one.get("replica") for one in found)
    print_table(
        ("LAUNCH", *(("REPLICA",) if numbered else ()), "STARTED", "READY", "ENDED", "REASON"),
        (
            (
                one["launch_id"],
                *((one["replica"],) if numbered else ()),
                figures.at(one["started_at"]),
                figures.at(one["ready_at"]),
                figures.at(one["ended_at"]),
                one["reason"],
            )
            for one in reversed(found)
        ),
    )
