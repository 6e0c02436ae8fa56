"""The commands that save a data directory and restore it: backup, restore."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from model_deployment.cli.output import err, out
from model_deployment.settings import load

File = Annotated[Path, typer.Argument(metavar="FILE", help="For example backup.tar.gz.")]
DataDir = Annotated[
    Path | None, typer.Option(help="The data directory (default: from the settings).")
]

_MONGODB = (
    "Captures, metrics and reports are in MongoDB, so this backup does not contain them: save them "
    "with mongodump, and restore them with mongorestore."
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
    out.print(f"saved {', '.join(manifest.members)} of {settings.data_dir} in {target}")
    if settings.documents_url:
        out.print(_MONGODB)


def restore(
    file: File,
    force: Annotated[
        bool, typer.Option("--force", help="Move existing files aside and replace them.")
    ] = False,
    clone: Annotated[
        bool,
        typer.Option("--clone", help="For a second controller beside the first, on one machine."),
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Restore the data directory from FILE. The controller must not be running."""
    from model_deployment.backup.restore import restore as put_back

    settings = load(data_dir=data_dir)
    done = put_back(settings.data_dir, file.absolute(), force=force, clone=clone)
    _report_moved(done.aside)
    out.print(f"restored {settings.data_dir} as of {done.manifest.time}")
    if done.manifest.documents == "mongodb":
        out.print(_MONGODB)


def start_empty(data_dir: Path, *, state: bool, documents: bool) -> None:
    """Move the state or the documents aside, for ``serve --new-state`` and ``--new-documents``."""
    from model_deployment.backup import reset

    if state:
        _report_moved(reset.new_state(data_dir))
    if documents:
        _report_moved(reset.new_documents(data_dir))


def _report_moved(paths: Sequence[Path]) -> None:
    for path in paths:
        err.print(f"kept the previous file as {path}")
