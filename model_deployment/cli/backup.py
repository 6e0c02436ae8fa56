"""The commands that save a data directory and restore it: backup, restore."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from model_deployment.cli.output import err, out

File = Annotated[Path, typer.Argument(metavar="FILE", help="For example backup.tar.gz.")]
DataDir = Annotated[
    Path | None, typer.Option(help="The data directory (default: from the settings).")
]

_MONGODB = (
    "Captures, metrics and reports are in MongoDB, so this backup does not contain them: save them "
    "with mongodump, and restore them with mongorestore."
)


def registry_note(uri: str, data_dir: Path) -> str:
    """What a backup says of the registry, which it does not contain."""
    from model_deployment.registry.values import shown

    if uri == f"sqlite:///{data_dir / 'mlflow' / 'mlflow.db'}":
        return (
            f"The registry is the folder {data_dir / 'mlflow'}, and this backup does not contain it: copy "
            "that folder as well."
        )
    return (
        f"This backup does not contain the registry at {shown(uri)}, so save its database (pg_dump) and "
        "its store of artifacts (the bucket or folder) as well, the database first. See docs/storage.md."
    )


def backup(
    file: File,
    force: Annotated[bool, typer.Option("--force", metavar="", help="Replace FILE.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Save the state and the document store in one file. The controller may be running."""
    from model_deployment.backup.data_files import in_words
    from model_deployment.backup.make import backup as make
    from model_deployment.settings import load

    settings = load(data_dir=data_dir)
    documents = "mongodb" if settings.documents_url else "embedded"
    target = file.absolute()
    manifest = make(settings.data_dir, target, documents=documents, force=force)
    out.print(f"saved {', '.join(in_words(manifest.members))} of {settings.data_dir} in {target}")
    if settings.documents_url:
        out.print(_MONGODB)
    out.print(registry_note(settings.registry_uri, settings.data_dir))


def restore(
    file: File,
    force: Annotated[
        bool,
        typer.Option("--force", metavar="", help="Move existing files aside and replace them."),
    ] = False,
    clone: Annotated[
        bool,
        typer.Option(
            "--clone", metavar="", help="For a second controller beside the first, on one machine."
        ),
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Restore the data directory from FILE. The controller must not be running."""
    from model_deployment.backup.restore import restore as put_back
    from model_deployment.settings import load

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
