"""The command that shows the deployments as they work: top."""

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from model_deployment.cli import traffic
from model_deployment.cli.connection import Url, controller_at
from model_deployment.cli.output import INTERRUPTED, answer_of, out, print_text, table

if TYPE_CHECKING:
    from model_deployment.client import Client

_COLUMNS = (
    "NAME",
    "STATE",
    "REQ/S",
    "REFUSED/S",
    "FAILED/S",
    "P95",
    "WAITING",
    "MEMORY",
    "RESTARTS",
    "REASON",
)


def top(
    interval: Annotated[
        float,
        typer.Option("--interval", "-i", metavar="SECONDS", min=0.2, help="Between two looks."),
    ] = 2.0,
    count: Annotated[
        int, typer.Option("--count", "-n", min=0, help="Looks before it ends; 0: it never does.")
    ] = 0,
    url: Url = "",
) -> None:
    """Show requests, errors and memory of the deployments now, the troubled and busy ones first.

    On a terminal in place; else a table for each look.
    """
    client = controller_at(url)
    frames = _frames(client, interval, count)
    try:
        if out.is_terminal:
            _live(frames)
            return
        for number, lines in enumerate(frames):
            print_text("\n".join([*([""] if number else []), *lines]))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _frames(
    client: "Client", interval: float, count: int, sleep: Callable[[float], None] = time.sleep
) -> Iterator[list[str]]:
    """A heading and a table for each look; the first one comes after one interval."""
    before = answer_of(lambda: traffic.look(client))
    number = 0
    while not count or number < count:
        sleep(interval)
        now = answer_of(lambda: traffic.look(client))
        rows = traffic.rows(before, now)
        yield [
            f"{datetime.now().astimezone():%H:%M:%S}  {traffic.headline(before, now)}",
            *table(_COLUMNS, rows),
        ]
        before, number = now, number + 1


def _live(frames: Iterator[list[str]]) -> None:
    from rich.live import Live
    from rich.text import Text

    with Live(console=out, auto_refresh=False, screen=True) as live:
        for lines in frames:
            room = max(out.height - 1, 2)
            text = Text(no_wrap=True, overflow="crop")
            for number, line in enumerate(lines[:room]):
                text.append(line + "\n", style=_style(number, line))
            live.update(text, refresh=True)


def _style(number: int, line: str) -> str:
    if number == 1:
        return "bold"
    if "  failed " in line:
        return "red"
    return (
        "yellow"
        if any(f"  {state} " in line for state in ("pending", "starting", "stopping"))
        else ""
    )
