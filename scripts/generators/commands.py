"""The commands in docs/reference/command-line.md, from the command line itself."""

import inspect
from collections.abc import Iterator
from typing import Any

import typer

from model_deployment.cli.main import app as command_line
from scripts.generators.markdown import table


def command_line_sections() -> str:
    return "\n\n".join(_commands(typer.main.get_command(command_line), "model-deployment"))


def _commands(command: Any, name: str) -> Iterator[str]:
    children = getattr(command, "commands", {})
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option"]
    names = [one.metavar or one.name.upper() for one in arguments]
    tail = ["COMMAND ..."] if children else [*names, *(["[OPTIONS]"] if options else [])]
    yield f"## {name}"
    yield inspect.cleandoc(command.help or "").strip()
    yield "```text\n" + " ".join([name, *tail]) + "\n```"
    rows = [
        (f"`{metavar}`", "", one.help or "") for metavar, one in zip(names, arguments, strict=True)
    ]
    for one in options:
        value = "" if one.is_flag else f" {one.metavar or 'VALUE'}"
        spelled = ", ".join(f"`{text}{value}`" for text in (*one.opts, *one.secondary_opts))
        default = "" if one.is_flag or one.default in (None, "") else f"`{one.default}`"
        rows.append((spelled, default, one.help or ""))
    if rows:
        yield table(("argument or option", "default", "meaning"), rows)
    for child in children.values():
        yield from _commands(child, f"{name} {child.name}")
