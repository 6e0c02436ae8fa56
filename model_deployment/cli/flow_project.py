"""The commands for a project of flows: its first files, its settings and their history."""

import os
import shlex
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from model_deployment.cli.connection import AsJson, Url, controller_at
from model_deployment.cli.output import (
    answer_of,
    err,
    fail,
    out,
    print_json,
    print_table,
    print_text,
)
from model_deployment.core.errors import InvalidProject

if TYPE_CHECKING:
    from model_deployment.client import Client
    from model_deployment.client.answers import SettingsProblem

settings = typer.Typer(no_args_is_help=True, help="The settings of the project of flows.")

#: Seconds in which the example's tables are made.
_MAKING = 60
_COMMENT = "#! "

Number = Annotated[int, typer.Argument(metavar="NUMBER", min=1, help="As `history` shows it.")]


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A new or empty folder.", file_okay=False)
    ],
) -> None:
    """Begin a project of flows: settings, experiments that work, and tables for them."""
    from model_deployment.flow_project.create import MAKE_DATA, create

    folder = folder.absolute()

    def make_data() -> None:
        subprocess.run([sys.executable, MAKE_DATA], cwd=folder, check=True, timeout=_MAKING)

    try:
        for written in create(folder, make_data):
            out.print(f"wrote {folder / written}")
    except (OSError, subprocess.SubprocessError) as error:
        fail(
            f"cannot make the tables of the example: {error}; run `python {MAKE_DATA}` in {folder}"
        )
    out.print(
        f"\nNext: set MODEL_DEPLOYMENT_FLOWS_PROJECT={folder}, start the controller again, and\n"
        "model-deployment flows run full_flow --experiment income"
    )


@settings.command()
def show(
    number: Annotated[
        int | None, typer.Option(help="An older text, as `history` shows it.", min=1)
    ] = None,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Print the settings of the controller's project."""
    client = controller_at(url)
    if number is not None:
        saved = answer_of(lambda: client.saved_flow_settings(number))
        print_json(saved) if as_json else print_text(saved["text"])
    elif as_json:
        print_json(answer_of(client.flow_project))
    else:
        print_text(answer_of(client.flow_settings)[0])


@settings.command()
def check(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER",
            help="The folder of a project. Default: the controller's project.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    url: Url = "",
) -> None:
    """Check settings: that they can be used, and in a folder that their files are there."""
    if folder is None:
        found = answer_of(controller_at(url).flow_project)
        if found["problems"]:
            _refuse(found["problems"])
        out.print("the settings can be used")
        return
    _check_folder(folder)
    out.print(f"{folder} can be used")


def _check_folder(folder: Path) -> None:
    # Imported here, so that help does not wait for it.
    from model_deployment.flow_project import load, unusable

    try:
        missing = unusable(folder, load(folder))
    except InvalidProject as error:
        if "problems" not in error.extra:
            raise
        _refuse(error.extra["problems"])
    for line in missing:
        err.print(line)
    if missing:
        raise typer.Exit(1)


@settings.command()
def edit(
    file: Annotated[
        Path | None,
        typer.Option(help="Save this file instead; - is the standard input."),
    ] = None,
    url: Url = "",
) -> None:
    """Change the settings of the controller's project in your editor ($EDITOR)."""
    client = controller_at(url)
    text, tag = answer_of(client.flow_settings)
    if file is not None:
        new = _text_of(file)
        problems = answer_of(lambda: client.check_flow_settings(new))["problems"]
        if problems:
            _refuse(problems)
    else:
        new = _edited(client, text)
    if new == text:
        out.print("nothing is changed")
        return
    saved = answer_of(lambda: client.save_flow_settings(new, expected=tag))
    out.print(f"saved as number {saved['number']}")


def _text_of(file: Path) -> str:
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"cannot read {file}: {error}")


def _edited(client: "Client", text: str) -> str:
    """What comes out of the editor, which opens again while the text cannot be used, until it changes
    nothing.
    """
    draft, problems = text, list["SettingsProblem"]()
    while True:
        shown = _explained(draft, problems)
        edited = in_editor(shown)
        if edited == shown:
            return text
        draft = _without_explanation(edited)
        problems = answer_of(partial(client.check_flow_settings, draft))["problems"]
        if not problems:
            return draft


def in_editor(text: str) -> str:
    """What a user makes of a text in the editor of the terminal."""
    named = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"  # noqa: TID251 - no setting of ours
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "settings.yaml"
        file.write_text(text, encoding="utf-8")
        try:
            subprocess.run([*shlex.split(named), str(file)], check=True)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            fail(f"cannot open the editor {named!a}: {error}; set EDITOR, or use --file")
        return _text_of(file)


def _explained(text: str, problems: "list[SettingsProblem]") -> str:
    return "".join(f"{_COMMENT}{_line(one)}\n" for one in problems) + text


def _without_explanation(text: str) -> str:
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(_COMMENT))


def _line(problem: "SettingsProblem") -> str:
    where = "" if problem["line"] is None else f"line {problem['line']}: "
    key = f"{problem['key']}: " if problem["key"] else ""
    return f"{where}{key}{problem['message']}"


def _refuse(problems: "list[SettingsProblem]") -> NoReturn:
    for problem in problems:
        err.print(_line(problem))
    raise typer.Exit(1)


@settings.command()
def history(
    limit: Annotated[int, typer.Option(min=1, max=200, help="Of the newest.")] = 20,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Show who has saved the settings, and when."""
    client = controller_at(url)
    found = answer_of(lambda: client.flow_settings_history(limit=limit))
    if as_json:
        print_json(found)
        return
    rows = ((one["number"], one["at"], one["by"] or "-", one["sha256"][:12]) for one in found)
    print_table(("NUMBER", "AT", "BY", "SHA-256"), rows)


@settings.command("bring-back")
def bring_back(number: Number, url: Url = "") -> None:
    """Save an older text of the settings again."""
    client = controller_at(url)
    _, tag = answer_of(client.flow_settings)
    text = answer_of(lambda: client.saved_flow_settings(number))["text"]
    saved = answer_of(lambda: client.save_flow_settings(text, expected=tag))
    out.print(f"saved as number {saved['number']}")
