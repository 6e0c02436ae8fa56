"""The commands that save a data directory and put it back: backup, restore."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from model_deployment.settings import load

_out = Console(soft_wrap=True)
_err = Console(stderr=True, soft_wrap=True)

File = Annotated[Path, typer.Argument(metavar="FILE", help="For example backup.tar.gz.")]
DataDir = Annotated[
    Path | None, typer.Option(help="The data directory (default: from the settings).")
]

_MONGODB = (
    "Captures, metrics and reports are in MongoDB, and not in this backup: mongodump saves them, "
    "mongorestore puts them back."
)


def backup(
    file: File,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Save the state and the document store in one file. The controller may be running."""
    from model_deployment.backup.make import backup as make

    settings = load(data_dir=data_dir)
    documents = "mongodb" if settings.documents_url else "embedded"
    target = file.absolute()
    manifest = make(settings.data_dir, target, documents=documents, force=force)
    _tell(f"saved {', '.join(manifest.members)} of {settings.data_dir} in {target}")
    if settings.documents_url:
        _tell(_MONGODB)


def restore(
    file: File,
    force: Annotated[
        bool, typer.Option("--force", help="Move aside what is there, and replace it.")
    ] = False,
    clone: Annotated[
        bool,
        typer.Option("--clone", help="For a second controller beside the first, on one machine."),
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Make the data directory what it was when FILE was saved. The controller must not run."""
    from model_deployment.backup.restore import restore as put_back

    settings = load(data_dir=data_dir)
    done = put_back(settings.data_dir, file.absolute(), force=force, clone=clone)
    told_aside(done.aside)
    _tell(f"restored {settings.data_dir} as it was at {done.manifest.time}")
    if done.manifest.documents == "mongodb":
        _tell(_MONGODB)


def begin_anew(data_dir: Path, *, state: bool, documents: bool) -> None:
    """What ``serve --new-state`` and ``--new-documents`` do before the controller starts."""
    from model_deployment.backup import reset

    if state:
        told_aside(reset.new_state(data_dir))
    if documents:
        told_aside(reset.new_documents(data_dir))


def told_aside(moved: Sequence[Path]) -> None:
    """Say where files are that were moved out of the way."""
    for path in moved:
        _err.print(f"kept what was there as {path}", markup=False, highlight=False)


def _tell(text: str) -> None:
    _out.print(text, markup=False, highlight=False)
