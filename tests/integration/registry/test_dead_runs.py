"""Runs in a real registry whose flow was killed."""

from pathlib import Path

import pytest

from model_deployment.registry.dead_runs import Dead, end_runs
from tests.support.registry_lab import RegistryLab

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's


def test_only_the_runs_of_the_killed_flow_are_ended(tmp_path: Path) -> None:
    lab = RegistryLab(tmp_path)
    client = lab.client
    experiment = client.create_experiment("income", artifact_location=tmp_path.as_uri())

    def run(**tags: str) -> str:
        return str(client.create_run(experiment, tags=tags).info.run_id)

    killed, other, whole = run(flow_run_id="a"), run(flow_run_id="b"), run(flow_run_id="a")
    trial = run(**{"mlflow.parentRunId": killed})
    client.set_terminated(whole)
    dead = Dead("income", ("a",))
    assert end_runs(dead, client) == 2
    states = [client.get_run(one).info.status for one in (killed, trial, other, whole)]
    assert states == ["KILLED", "KILLED", "RUNNING", "FINISHED"]
    assert end_runs(dead, client) == 0
    assert end_runs(Dead("never trained", ("a",)), client) == 0
