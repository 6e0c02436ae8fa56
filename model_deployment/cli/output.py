"""What the commands print, and how they end when something fails."""

from collections.abc import Callable
from typing import NoReturn, TypeVar

import typer
from rich.console import Console

from model_deployment.cli.client import CallFailed

# Names and messages come from elsewhere: printed as they are, without markup or colours.
out = Console(soft_wrap=True, markup=False, highlight=False)
err = Console(soft_wrap=True, markup=False, highlight=False, stderr=True)

T = TypeVar("T")


def fail(message: str) -> NoReturn:
    err.print(f"error: {message}")
    raise typer.Exit(1)


def answer_of(call: Callable[[], T]) -> T:
    """What a call of the controller returns; a failed call ends the command with its reason."""
    try:
        return call()
    except CallFailed as error:
        for line in error.problem.get("log", []):
            err.print(f"  | {line}")
        fail(str(error))
