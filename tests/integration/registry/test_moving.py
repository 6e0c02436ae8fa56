"""Moving a registry: from any path, and never over somebody's experiments."""

import shutil
from pathlib import Path

import pytest

from model_deployment.registry.moving import CannotMove, move

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's


def test_a_registry_moves_from_any_path_and_over_no_experiment(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    made, artifacts = tmp_path / "made.db", tmp_path / "artifacts"
    artifacts.mkdir()
    MlflowClient(f"sqlite:///{made}").search_experiments()
    source = tmp_path / "a?b#c%41" / "mlflow.db"
    source.parent.mkdir()
    for path in (source, target := tmp_path / "target.db"):
        shutil.copyfile(made, path)
    MlflowClient(f"sqlite:///{made}").create_experiment("income", str(artifacts / "1"))
    with pytest.raises(CannotMove, match=r"\(experiments\)"):
        move(source, artifacts, f"sqlite:///{made}", str(tmp_path / "store"))
    assert move(source, artifacts, f"sqlite:///{target}", str(tmp_path / "store")).rows
