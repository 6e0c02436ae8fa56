"""What the command backup says of what it does not save."""

from pathlib import Path

import pytest

from model_deployment.cli.backup import registry_note


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("sqlite:////data/mlflow/mlflow.db", "the folder /data/mlflow"),
        ("sqlite:////srv/mlflow.db", "at sqlite:////srv/mlflow.db"),
        ("http://user:s3cret@mlflow:5000", "at http://mlflow:5000, so save its database (pg_dump)"),
        ("postgresql+psycopg2://user:s3cret@host/mlflow", "postgresql+psycopg2://host/mlflow"),
    ],
)
def test_the_registry_is_named(uri: str, said: str) -> None:
    note = registry_note(uri, Path("/data"))
    assert said in note
    assert "does not contain" in note
    assert "s3cret" not in note
