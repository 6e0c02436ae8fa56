"""The command that moves a registry into another database and another store of artifacts."""

from pathlib import Path
from typing import Annotated

import typer

from model_deployment.cli.output import err, out
from model_deployment.rendering import numbers

Database = Annotated[
    Path, typer.Argument(metavar="DATABASE", help="MLflow's SQLite file, such as mlflow.db.")
]
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder with the artifacts.")]
ToDatabase = Annotated[
    str,
    typer.Option(
        envvar="MLFLOW_BACKEND_STORE_URI",
        show_envvar=True,
        metavar="URL",
        help="URL of the new, empty database, such as postgresql+psycopg2://USER:PASSWORD@HOST/NAME.",
    ),
]
ToArtifacts = Annotated[
    str,
    typer.Option(
        envvar="MLFLOW_ARTIFACTS_DESTINATION",
        show_envvar=True,
        metavar="PLACE",
        help="Place of the new store that MLflow's server is going to serve, such as s3://BUCKET/.",
    ),
]


def move_registry(
    database: Database, folder: Folder, to_database: ToDatabase, to_artifacts: ToArtifacts
) -> None:
    """Copy a registry from MLflow's SQLite file and folder to another database and store.

    Stop the MLflow server first. The source is only read, so it can be used again if something goes wrong.
    """
    from model_deployment.registry.moving import move

    moved = move(database.absolute(), folder.absolute(), to_database, to_artifacts)
    rows = ", ".join(f"{number} {table}" for table, number in moved.rows.items())
    out.print(f"copied {rows}")
    out.print(f"copied {moved.files} files, {numbers.size(moved.size)}")
    for place in sorted(moved.elsewhere)[:5]:
        err.print(f"not moved, since they are not in {folder}: the artifacts at {place}")
