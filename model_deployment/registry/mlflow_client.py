"""Makes MLflow's client of a registry, and the database of a new registry."""

import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from model_deployment.log import lines
from model_deployment.registry.mlflow_server import MlflowServer
from model_deployment.registry.served_client import ServedClient


def create_database(uri: str) -> None:
    """Create the file of a new SQLite registry in one step.

    MLflow creates its tables in dozens of steps, and can never use a file in which it was killed half way.
    """
    from mlflow import MlflowClient

    path = Path(uri.removeprefix("sqlite:///"))
    if not uri.startswith("sqlite:///") or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=path.parent) as folder:
        draft, complete = Path(folder) / "draft.db", Path(folder) / "complete.db"
        # Both addresses, or MLflow would use the registry that is set for the whole process.
        MlflowClient(f"sqlite:///{draft}", f"sqlite:///{draft}").search_registered_models(
            max_results=1
        )
        with closing(sqlite3.connect(draft)) as connection:
            # Copied, because MLflow keeps the draft open.
            connection.execute("VACUUM INTO ?", (str(complete),))
        # A link, unlike a rename, never replaces the file of another process.
        with suppress(FileExistsError):
            path.hardlink_to(complete)


def import_mlflow() -> None:
    """Import MLflow, and replace the log handlers that it installs by ours."""
    import mlflow  # noqa: F401 - imported for its effects

    lines.adopt("mlflow", "alembic", "huey")


def connect(tracking: MlflowServer, registry: MlflowServer, timeout: float) -> ServedClient:
    """A client that gives up within ``timeout`` seconds, unless the environment says otherwise.

    It asks the servers only for what they have.
    """
    import mlflow
    from mlflow import environment_variables as variables

    def default(variable: Any, value: Any) -> None:
        if not variable.is_set():
            variable.set(value)

    # With MLflow's defaults, 120 s and 7 tries, a dead registry is noticed after 249 s.
    default(variables.MLFLOW_HTTP_REQUEST_TIMEOUT, max(1, int(timeout * 0.6)))
    default(variables.MLFLOW_HTTP_REQUEST_MAX_RETRIES, 1)
    default(variables.MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR, False)
    # Lines with links to runs would stand among the log's.
    default(variables.MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT, True)
    # Process-wide too: a database registry resolves models:/<id> with these addresses.
    mlflow.set_tracking_uri(tracking.address)
    mlflow.set_registry_uri(registry.address)
    client = mlflow.MlflowClient(tracking_uri=tracking.address, registry_uri=registry.address)
    return ServedClient(client, tracking, registry)
