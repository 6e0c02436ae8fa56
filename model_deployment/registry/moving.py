"""Moves a registry from MLflow's SQLite file and folder into another database and another store.

Copies rows between two databases of the same MLflow release, since MLflow has no tool for that. The
artifacts go first, and all rows in one transaction of the target, so an interrupted move leaves an empty
registry there and can be repeated. The source is only read.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from model_deployment.core.errors import ModelDeploymentError
from model_deployment.registry.data_files import brief
from model_deployment.registry.values import shown

if TYPE_CHECKING:
    import sqlalchemy as sa

#: Rows that are sent at once.
_BATCH = 1000
_VERSION = "alembic_version"
#: Columns with the address of artifacts. Those of a folder become addresses of MLflow's server.
_LOCATIONS = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "model_versions": ("source", "storage_location"),
    "logged_models": ("artifact_location",),
}
#: Rows that tell that somebody uses a registry; MLflow itself makes the experiment 0.
_USED = ("runs", "registered_models", "logged_models")
_SERVED = "mlflow-artifacts:"


class CannotMove(ModelDeploymentError):
    """The registry cannot be moved; the source is as it was, and the target has none of its rows."""


@dataclass(slots=True)
class Moved:
    """What was copied."""

    #: Rows by table, those without rows left out.
    rows: dict[str, int] = field(default_factory=dict)
    files: int = 0
    size: int = 0
    #: Places of artifacts that lie neither in the folder nor behind a server, so they stay where they are.
    elsewhere: set[str] = field(default_factory=set)


def move(source: Path, folder: Path, database: str, artifacts: str) -> Moved:
    """Copy a registry; its MLflow server must be stopped.

    Args:
        source: MLflow's SQLite file.
        folder: the folder with the artifacts.
        database: URL of the new database, for example ``postgresql+psycopg2://user:password@host/mlflow``.
        artifacts: place of the new store, for example ``s3://mlflow/``; a server of MLflow has to serve it
            (``--artifacts-destination``).

    Raises:
        CannotMove: one of the four cannot be used, or there is something in the new registry.
    """
    if not source.is_file():
        raise CannotMove(f"cannot move the registry {source}: there is no such file")
    if not folder.is_dir():
        raise CannotMove(f"cannot move the artifacts {folder}: there is no such folder")
    moved = Moved()
    # Once for SQLite, and once for SQLAlchemy.
    address = quote(quote(str(source.absolute())))
    with _open(f"sqlite:///file:{address}?mode=ro&uri=true", str(source)) as old:
        # The rows of one moment, whoever writes meanwhile.
        old.exec_driver_sql("BEGIN")
        with _open(database, shown(database)) as new:
            _make_tables(database)
            _check(old, new, source, database)
            _copy_files(folder, artifacts, moved)
            with _transaction(new):
                _copy_rows(old, new, _Relocation(folder.resolve(), moved))
    return moved


@contextmanager
def _open(url: str, name: str) -> Iterator["sa.Connection"]:
    import sqlalchemy as sa

    try:
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        connection = engine.connect()
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        raise CannotMove(f"cannot open the database {name}: {_why(error)}") from error
    try:
        yield connection
    finally:
        connection.close()
        engine.dispose()


def _make_tables(url: str) -> None:
    """By MLflow, as its server would at its first start."""
    from mlflow import MlflowClient

    try:
        MlflowClient(url, url).search_registered_models(max_results=1)
    except Exception as error:  # MLflow raises many
        raise CannotMove(
            f"cannot make the tables of MLflow in {shown(url)}: {_why(error)}"
        ) from error


def _check(old: "sa.Connection", new: "sa.Connection", source: Path, database: str) -> None:
    import sqlalchemy as sa

    layouts = []
    for connection, name in ((old, str(source)), (new, shown(database))):
        version = sa.column("version_num", sa.String)
        try:
            layouts.append(connection.scalar(sa.select(version).select_from(sa.table(_VERSION))))
        except sa.exc.SQLAlchemyError as error:
            raise CannotMove(f"cannot read {name}: it is no database of MLflow") from error
    if layouts[0] != layouts[1]:
        raise CannotMove(
            f"cannot move the registry {source}: another release of MLflow made its tables ({layouts[0]}, "
            f"and this one needs {layouts[1]}); run mlflow db upgrade sqlite:///{source} first"
        )
    used = [
        name
        for name in _USED
        if new.scalar(sa.select(sa.literal(1)).select_from(sa.table(name)).limit(1))
    ]
    experiments = sa.table("experiments", sa.column("experiment_id"))
    theirs = (
        sa.select(sa.literal(1)).select_from(experiments).where(sa.column("experiment_id") != 0)
    )
    if new.scalar(theirs.limit(1)):
        used.append("experiments")
    if used:
        raise CannotMove(
            f"cannot move the registry {source} to {shown(database)}: there is something in it already "
            f"({', '.join(used)}); use an empty database"
        )


def _copy_files(folder: Path, artifacts: str, moved: Moved) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    if sizes:
        try:
            get_artifact_repository(artifacts).log_artifacts(str(folder))
        except Exception as error:  # each store has its own
            raise CannotMove(
                f"cannot copy {folder} to {shown(artifacts)}: {_why(error)}"
            ) from error
    moved.files, moved.size = len(sizes), sum(sizes)


@contextmanager
def _transaction(connection: "sa.Connection") -> Iterator[None]:
    connection.exec_driver_sql("BEGIN")
    try:
        yield
    except BaseException:
        connection.exec_driver_sql("ROLLBACK")
        raise
    connection.exec_driver_sql("COMMIT")


def _copy_rows(old: "sa.Connection", new: "sa.Connection", relocation: "_Relocation") -> None:
    import sqlalchemy as sa

    known = sa.MetaData()
    known.reflect(new)
    tables = [table for table in known.sorted_tables if table.name != _VERSION]
    for table in reversed(tables):
        new.execute(table.delete())  # what MLflow put there when it made the tables
    for table in tables:
        try:
            number = _copy_table(old, new, table, relocation)
            _continue_counting(new, table)
        except (sa.exc.SQLAlchemyError, ValueError) as error:  # SQLite takes any text
            raise CannotMove(
                f"cannot copy the rows of {table.name}: {_why(error)}; the new database is empty. Change "
                "or delete in the old registry what the new database refuses, and move it again"
            ) from error
        if number:
            relocation.moved.rows[table.name] = number


def _copy_table(
    old: "sa.Connection", new: "sa.Connection", table: "sa.Table", relocation: "_Relocation"
) -> int:
    """Copy all rows; how many."""
    import sqlalchemy as sa

    number = 0
    found = old.execution_options(yield_per=_BATCH).execute(sa.select(table))
    for rows in found.mappings().partitions():
        new.execute(table.insert(), [relocation.of(table.name, row) for row in rows])
        number += len(rows)
    return number


def _continue_counting(connection: "sa.Connection", table: "sa.Table") -> None:
    """Let the next number of a column come after those that were copied."""
    import sqlalchemy as sa

    if connection.dialect.name != "postgresql":
        return  # the others look at the rows
    for column in table.primary_key.columns:
        if column.autoincrement and isinstance(column.type, sa.Integer) and column.server_default:
            # MLflow's own experiment has the number 0, with which a sequence cannot begin.
            last = sa.select(sa.func.coalesce(sa.func.max(column), 0)).scalar_subquery()
            sequence = sa.func.pg_get_serial_sequence(table.name, column.name)
            connection.execute(sa.select(sa.func.setval(sequence, last + 1, False)))


@dataclass(slots=True)
class _Relocation:
    """Gives artifacts of a folder their address behind MLflow's server."""

    folder: Path
    moved: Moved

    def of(self, table: str, row: Any) -> dict[str, Any]:
        changed = dict(row)
        for column in _LOCATIONS.get(table, ()):
            if isinstance(place := changed.get(column), str):
                changed[column] = new_location(place, self.folder, self.moved.elsewhere.add)
        return changed


def new_location(place: str, folder: Path, elsewhere: Callable[[str], object]) -> str:
    """The address of artifacts once ``folder`` is what MLflow's server serves.

    ``elsewhere`` is called with places that stay as they are though they are local paths.
    """
    path = unquote(place.removeprefix("file://")) if place.startswith("file://") else place
    if not path.startswith("/"):
        return place  # models:/…, mlflow-artifacts:/…, s3://…
    if Path(path).is_relative_to(folder):
        return f"{_SERVED}/{Path(path).relative_to(folder).as_posix()}".removesuffix("/.")
    elsewhere(place)
    return place


def _why(error: Exception) -> str:
    return brief(error.__cause__ if isinstance(error.__cause__, Exception) else error)
