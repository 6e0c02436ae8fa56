"""Artifacts lie beside a registry that is a file."""

import pytest

from model_deployment.registry.artifact_location import beside


@pytest.mark.parametrize(
    ("uri", "location"),
    [
        ("sqlite:////data/mlflow/mlflow.db", "file:///data/mlflow/artifacts/income"),
        ("sqlite+pysqlite:////a%20b/m.db", "file:///a%20b/artifacts/income"),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("http://127.0.0.1:5000/mlflow.db", None),
        ("postgresql+psycopg2://mlflow@db/mlflow", None),
        ("", None),
    ],
)
def test_artifacts_lie_beside_a_registry_in_a_file(uri: str, location: str | None) -> None:
    assert beside(uri, "income") == location
