"""MLflow's own client of a registry, and a database for it where there is none yet."""

import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from model_deployment.log import lines


def create_database(uri: str) -> None:
    """Bring a new SQLite registry into being in one piece.

    MLflow makes its tables in dozens of steps; a file in which it was killed half way is of no use
    to it ever after.
    """
    from mlflow import MlflowClient

    path = Path(uri.removeprefix("sqlite:///"))
    if not uri.startswith("sqlite:///") or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=path.parent) as folder:
        draft, whole = Path(folder) / "draft.db", Path(folder) / "whole.db"
        # Both, or it would take the registry that was set for the whole process.
        MlflowClient(f"sqlite:///{draft}", f"sqlite:///{draft}").search_registered_models(
            max_results=1
        )
        with closing(sqlite3.connect(draft)) as connection:
            # A copy, since MLflow keeps the draft open.
            connection.execute("VACUUM INTO ?", (str(whole),))
        # A link, unlike a rename, never replaces what another process made in the meantime.
        with suppress(FileExistsError):
            path.hardlink_to(whole)


def import_mlflow() -> None:
    """With a log that is written as ours is: it gives its loggers handlers of their own."""
    import mlflow  # noqa: F401 - it is the import that counts

    lines.adopt("mlflow", "alembic", "huey")


def connect(tracking_uri: str, registry_uri: str, timeout: float) -> Any:
    """A client that gives up in time, unless the environment says otherwise; ``timeout`` in seconds."""
    import mlflow
    from mlflow import environment_variables as variables

    def default(variable: Any, value: Any) -> None:
        if not variable.is_set():
            variable.set(value)

    # MLflow's own defaults are 120 s and 7 tries: 249 s until a dead registry is called dead.
    default(variables.MLFLOW_HTTP_REQUEST_TIMEOUT, max(1, int(timeout * 0.6)))
    default(variables.MLFLOW_HTTP_REQUEST_MAX_RETRIES, 1)
    default(variables.MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR, False)
    # The process-wide ones too: a database registry resolves models:/<id> with those.
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_registry_uri(registry_uri)
    return mlflow.MlflowClient(tracking_uri=tracking_uri, registry_uri=registry_uri)
