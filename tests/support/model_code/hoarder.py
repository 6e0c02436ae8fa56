"""Counts its rows in a database among its artifacts, and leaves a lock there."""

import sqlite3
from pathlib import Path
from typing import Any

import mlflow


class Hoarder(mlflow.pyfunc.PythonModel):
    """Predicts how many rows it has seen."""

    def load_context(self, context: Any) -> None:
        """Open the database."""
        database = Path(context.artifacts["seen"])
        (database.parent / "running.lock").touch()
        self._seen = sqlite3.connect(database, check_same_thread=False, isolation_level=None)
        self._seen.execute("PRAGMA journal_mode = WAL")

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        """The number, for each row."""
        self._seen.executemany("INSERT INTO seen VALUES (?)", model_input[["value"]].to_numpy())
        [(count,)] = self._seen.execute("SELECT count(*) FROM seen")
        return [float(count)] * len(model_input)


mlflow.models.set_model(Hoarder())
