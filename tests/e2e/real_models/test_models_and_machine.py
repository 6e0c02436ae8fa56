"""Real models that want more of the machine than to compute: files, a registry, what only one can have."""

import os
import signal
from functools import partial
from typing import Any

import pytest

from tests.support.controller_program import Program
from tests.support.waiting import until_sync

pytestmark = pytest.mark.timeout(200)


def deploy(program: Program, name: str, **options: Any) -> None:
    answer = program.post(f"/deploy/{name}/1?wait=120", json=options)
    assert answer.status_code == 200, answer.text


def predict(program: Program, name: str) -> Any:
    answer = program.post(f"/{name}-1", json=[{"value": 1.5}])
    return answer.json().get("predictions", answer.status_code)


def events(program: Program, name: str, sign: str) -> list[str]:
    told = program.get(f"/model/{name}-1/events").json()
    return [event["reason"] for event in told if sign in event["reason"]]


def test_a_model_that_writes_among_its_artifacts_starts_again_and_again(program: Program) -> None:
    deploy(program, "hoarder")
    for restarts in (1, 2):
        assert [predict(program, "hoarder") for _ in range(2)] == [[1.0], [2.0]]
        os.killpg(program.get("/model/hoarder-1").json()["pid"], signal.SIGKILL)
        until_sync(partial(is_ready, program, "hoarder", restarts), timeout=90)
    assert predict(program, "hoarder") == [1.0]
    [told] = events(program, "hoarder", "among its artifacts")
    for name in ("seen.db-wal", "seen.db-shm", "running.lock"):
        assert f"artifacts/{name}" in told
    assert not events(program, "hoarder", "damaged")


def is_ready(program: Program, name: str, restarts: int) -> bool:
    shown = program.get(f"/model/{name}-1").json()
    return (shown["state"], shown["restarts"]) == ("ready", restarts)


def test_a_model_that_asks_the_registry_is_told_how_to(program: Program) -> None:
    program.post("/deploy/borrower/1?wait=0")
    name = "name-MLFLOW_TRACKING_URI-in-MODEL_DEPLOYMENT_MODEL_ENV"
    until_sync(lambda: name in program.get("/model/borrower-1").json()["reason"], timeout=90)
    assert program.post("/undeploy/borrower-1").status_code == 200


def test_workers_that_cannot_live_beside_each_other_are_told_of(program: Program) -> None:
    deploy(program, "loner", workers=2)
    until_sync(lambda: events(program, "loner", "1 of 2 workers serve"), timeout=90)
    [told] = events(program, "loner", "1 of 2 workers serve")
    assert "OSError: [Errno 98] Address already in use" in told
    shown = program.get("/model/loner-1").json()
    assert (shown["state"], shown["workers_serving"]) == ("ready", 1)
    page = program.get("/dashboard/deployments/loner-1").text
    assert "1 of 2 workers serve" in page
    # It writes into the columns that it is given, too.
    assert [predict(program, "loner") for _ in range(3)] == [[3.0]] * 3
