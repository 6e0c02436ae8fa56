"""The command line, built once for all tests of a process that run commands within it.

To build its ninety commands takes a tenth of a second, and a command of a test some milliseconds. What is
built holds nothing of a call.
"""

import functools

import typer.main
import typer.testing

typer.testing._get_command = functools.cache(  # type: ignore[attr-defined]
    typer.main.get_command
)
