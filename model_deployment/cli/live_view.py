"""Shows something that changes until it is decided: in place on a terminal, else a line for each change."""

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any

import typer
from rich.live import Live
from rich.text import Text

from model_deployment.cli.output import INTERRUPTED, err, out


def show_until_end(
    looks: Iterable[dict[str, Any]],
    lines: Callable[[dict[str, Any]], list[str]],
    progress: Callable[[dict[str, Any]], str],
    *,
    what: str,
    as_json: bool,
) -> dict[str, Any]:
    """Show each look, and return the last one.

    Args:
        looks: answers of the controller, one after the other, until nothing more changes.
        lines: all of a look, for a terminal.
        progress: one line of a look, which is shown when it differs from the line before.
        what: goes on when the view is interrupted; for the message.

    Ends the command with the status of an interrupted process after Ctrl-C.
    """
    try:
        if out.is_terminal and not as_json:
            return _redraw(looks, lines)
        return _print_changes(looks, progress, as_json=as_json)
    except KeyboardInterrupt:
        err.print(f"the {what} goes on without this view")
        raise typer.Exit(INTERRUPTED) from None


def _redraw(
    looks: Iterable[dict[str, Any]], lines: Callable[[dict[str, Any]], list[str]]
) -> dict[str, Any]:
    last: dict[str, Any] = {}
    with Live(console=out, auto_refresh=False) as live:
        for last in looks:
            live.update(Text("\n".join(lines(last))), refresh=True)
    return last


def _print_changes(
    looks: Iterable[dict[str, Any]], progress: Callable[[dict[str, Any]], str], *, as_json: bool
) -> dict[str, Any]:
    last: dict[str, Any] = {}
    before = ""
    for last in looks:
        line = progress(last)
        if line != before:
            sys.stdout.write((json.dumps(last) if as_json else line) + "\n")
            sys.stdout.flush()
            before = line
    return last
