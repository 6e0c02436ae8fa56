"""Real models in an environment that real uv has built from the package index."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support import flavor_samples
from tests.support.audit import assert_clean
from tests.support.controller_program import Program
from tests.support.missing import missing
from tests.support.pinned_environments import find_uv
from tests.support.waiting import until_sync

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(400),
    # MLflow in the test's own process, which computes what is expected.
    pytest.mark.filterwarnings("ignore"),
]
MODELS = [("diabetes", 1), ("diabetes", 2)]
MB = 1024 * 1024


@pytest.fixture
def program(registry_template: str, tmp_path: Path) -> Iterator[Program]:
    find_uv()
    with Program(tmp_path, registry_template) as running:
        yield running
        assert_clean(running.data / "state.db", running.instance, running.ports)


def _row(program: Program, key: str) -> Any:
    return program.get(f"/model/{key}").json()


def _seconds_to_ready(program: Program, key: str) -> float:
    """From the launch on; the registry may have been slow before."""
    events = program.get(f"/model/{key}/events").json()
    at = {one["reason"].partition(" on port")[0]: one["at"] for one in events}
    ready, began = (datetime.fromisoformat(at[reason]) for reason in ("healthy", "launch"))
    return (ready - began).total_seconds()


def test_real_models_share_an_environment_and_its_parent(
    program: Program, registry_template: str
) -> None:
    uv = {"env_manager": "uv"}

    def accepted() -> bool:  # the registry may have been slow to answer
        return program.post("/deploy/diabetes/1?wait=0", json=uv).status_code == 202

    until_sync(accepted, timeout=90, what="the registry")

    def settled() -> Any:
        found = _row(program, "diabetes-1")
        return found if found["state"] in ("ready", "failed") else None

    row = until_sync(settled, timeout=300, interval=0.5, what="the first model")
    if row["state"] == "failed" and "fetch" in row["reason"]:
        missing(f"there is no package index: {row['reason']}")
    assert row["state"] == "ready", row["reason"]
    environment = row["environment"]
    assert (environment["state"], environment["mlflow_version"][0]) == ("ready", "3")
    second = program.post("/deploy/diabetes/2?wait=120", json=uv)
    assert second.status_code == 200, second.text
    assert second.json()["environment"]["digest"] == environment["digest"]
    # On an idle machine 0.2 s; with its own server MLflow takes that many times.
    assert _seconds_to_ready(program, "diabetes-2") < 5
    for model, version in MODELS:
        for payload in flavor_samples.SAMPLES[model, version]:
            found = program.post(f"/{model}-{version}", json=payload)
            predictions = json.loads(found.text)["predictions"]
            expected = flavor_samples.expected(registry_template, model, version, payload)
            assert predictions == pytest.approx(expected)
    _, parent = program.get("/environments").json()["parents"]
    assert (parent["environment"], parent["models"]) == (environment["digest"], 2)
    assert 50 * MB < parent["memory"] < 400 * MB
    folder = program.data / "environments" / environment["digest"]
    assert Path(f"/proc/{parent['pid']}/exe").resolve() == (folder / "bin/python").resolve()

    def measured() -> bool:
        return bool(_row(program, "diabetes-2")["memory_needed"] < 80 * MB)

    until_sync(measured, timeout=30, what="the memory of a fork")
