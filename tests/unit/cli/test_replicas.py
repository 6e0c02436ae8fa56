"""Several launches of a deployment on the command line: listed, described, scaled, and their logs."""

import time
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from model_deployment.cli import changes, deployments, launch_view, logs
from model_deployment.cli.main import app
from model_deployment.client.values import Log
from tests.support.answering_client import AT, DEPLOYED, Answering

LAUNCH: dict[str, Any] = {
    "replica": 0, "role": "serving", "state": "ready", "step": None, "reason": "healthy",
    "since": AT, "ready_at": AT, "launch_id": "aaa", "port": 8001, "address": "127.0.0.1:8001",
    "pid": 4242, "container": None, "image": None, "tries": 0, "current": True,
    "memory": 30_000_000, "in_flight": 2, "threads": 4,
}  # fmt: skip
PENDING = {
    **LAUNCH, "replica": 2, "state": "pending", "reason": "KeyError: 'age'", "launch_id": None,
    "port": None, "pid": None, "memory": None, "in_flight": 0, "tries": 2,
}  # fmt: skip
THREE: dict[str, Any] = {
    **DEPLOYED,
    "replicas": {"wanted": 3, "ready": 2},
    "launches": [LAUNCH, {**LAUNCH, "replica": 1, "launch_id": "bbb", "pid": 4243}, PENDING],
}
MORE: dict[str, Any] = {
    "advice": "", "url": "http://test/wine-1", "created_at": AT, "pid": 4242, "container": None,
    "pss": 60_000_000, "rss": 90_000_000, "signature": None, "curl": "curl",
    "serving": {"merging": None, "refused": 0},
}  # fmt: skip
MISSING = "2 of 3 replicas serve; replica 2: pending: KeyError: 'age'"


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Answering:
    client = Answering()
    for module in (changes, deployments, logs):
        monkeypatch.setattr(module, "controller_at", lambda url: client)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    return client


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments])


def words(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return [" ".join(line.split()) for line in result.stdout.splitlines()]


def test_list_counts_replicas_only_where_there_are_several(answering: Answering) -> None:
    one = {**DEPLOYED, "name": "iris-1", "replicas": {"wanted": 1, "ready": 1}}
    answering.answers = {
        "deployments": [one, THREE, {**THREE, "replicas": {"wanted": 2, "ready": 2}}]
    }
    _, single, missing, all_serve = words(run("list"))
    assert single.split()[:2] == ["iris-1", "ready"]
    assert "/" not in single
    assert missing.split()[:3] == ["wine-1", "ready", "2/3"]
    assert missing.endswith(MISSING)
    assert all_serve.split()[:3] == ["wine-1", "ready", "2/2"]
    assert all_serve.endswith("workers=2 -")


def test_list_of_a_controller_of_an_earlier_release(answering: Answering) -> None:
    answering.answers = {"deployments": [DEPLOYED]}
    assert words(run("list"))[1].split()[:2] == ["wine-1", "ready"]


def test_describe_has_a_table_of_several_launches(answering: Answering) -> None:
    answering.answers = {"deployment": {**THREE, **MORE}}
    lines = words(run("describe", "wine-1"))
    assert f"Replicas {MISSING}" in lines
    head, *rows = lines[lines.index("") + 1 :]
    assert head == "REPLICA ROLE STATE SINCE LAUNCH PROCESS PORT THREADS MEMORY REQUESTS REASON"
    assert [row.split()[:3] for row in rows] == [
        ["0", "serving", "ready"], ["1", "serving", "ready"], ["2", "serving", "pending"],
    ]  # fmt: skip
    assert "4243 8001 4 29 MB 2" in rows[1]
    assert rows[2].endswith("KeyError: 'age'")


def test_describe_of_one_launch_is_what_it_was(answering: Answering) -> None:
    one = {**THREE, **MORE, "replicas": {"wanted": 1, "ready": 1}, "launches": [LAUNCH]}
    answering.answers = {"deployment": one}
    lines = words(run("describe", "wine-1"))
    assert "Process 4242, port 8001" in lines
    assert "" not in lines


@pytest.mark.parametrize(
    ("answer", "shown"),
    [({"threads": 4}, ["Threads 4 in each worker"]), ({"threads": None}, []), ({}, [])],
)
def test_describe_shows_the_threads_in_force(
    answering: Answering, answer: dict[str, Any], shown: list[str]
) -> None:
    one = {**DEPLOYED, **MORE, **answer}
    answering.answers = {"deployment": one}
    lines = words(run("describe", "wine-1"))
    assert [line for line in lines if line.startswith("Threads")] == shown


@pytest.mark.parametrize(
    ("state", "progress", "told"),
    [
        ("ready", "", ""),
        ("building", "numpy 12 of 30 MB", ", building: numpy 12 of 30 MB"),
        ("failed", "no version fits", ", failed: no version fits"),
    ],
)
def test_describe_shows_the_environment_of_its_own(
    answering: Answering, state: str, progress: str, told: str
) -> None:
    known = {"manager": "uv", "digest": "3f6d0c1a9b2e4d5c6b7a8f90", "state": state,
             "progress": progress, "python_version": "3.10.13", "mlflow_version": "2.9.2"}  # fmt: skip
    answering.answers = {"deployment": {**DEPLOYED, **MORE, "environment": known}}
    lines = words(run("describe", "wine-1"))
    assert f"Environment uv, Python 3.10.13, MLflow 2.9.2, 3f6d0c1a9b2e{told}" in lines


def test_describe_names_a_container_and_its_image(answering: Answering) -> None:
    inside = {"pid": None, "container": "c0ffee" * 6, "image": "md-model:3f6d", "port": None}
    one = {**THREE, **MORE, **inside, "replicas": {"wanted": 1, "ready": 1}}
    answering.answers = {"deployment": {**one, "launches": [{**LAUNCH, **inside}]}}
    assert "Process container c0ffeec0ffee of md-model:3f6d" in words(run("describe", "wine-1"))


def test_change_is_shown_with_all_its_launches(answering: Answering) -> None:
    retiring = {**LAUNCH, "role": "retiring", "state": "stopping", "step": "drain", "reason": ""}
    one = {**THREE, **MORE, "replicas": {"wanted": 1, "ready": 1}}
    answering.answers = {"deployment": {**one, "launches": [LAUNCH, retiring]}}
    lines = words(run("describe", "wine-1"))
    assert lines[-1].startswith("0 retiring stopping (drain)")


def test_scale_waits_until_as_many_serve(answering: Answering) -> None:
    steps = iter([{**THREE, "replicas": {"wanted": 3, "ready": n}} for n in (2, 3)])
    answering.answers = {"change": {**THREE, "replicas": {"wanted": 3, "ready": 1}}}
    asked: list[Any] = []
    answering.deployment = lambda name: next(steps)  # type: ignore[attr-defined]
    answering.change = lambda name, **named: asked.append((name, named)) or THREE  # type: ignore[attr-defined,func-returns-value]
    done = run("scale", "wine-1", "3")
    assert words(done)[-1] == "wine-1 is ready: 3 of 3 replicas serve"
    assert asked == [("wine-1", {"wait": 0, "replicas": "3"})]
    assert f"scaling wine-1: ready: {MISSING}" in " ".join(done.stderr.split())


def test_scale_of_what_is_parked_says_when_it_takes_effect(answering: Answering) -> None:
    parked = {**THREE, "state": "parked", "replicas": {"wanted": 0, "ready": 0}, "launches": []}
    answering.answers = {"change": parked}
    assert words(run("scale", "wine-1", "1-4")) == [
        "wine-1 is parked; its next start has the replicas"
    ]


def test_scale_that_cannot_be_done_in_time_says_what_is_missing(answering: Answering) -> None:
    answering.answers = {"change": THREE, "deployment": THREE}
    done = run("scale", "wine-1", "3", "--timeout", "0")
    assert done.exit_code == 1
    assert MISSING in " ".join(done.stderr.split())


def test_log_of_a_replica(answering: Answering) -> None:
    asked: list[Any] = []
    answering.logs = lambda name, **named: asked.append(named) or Log("bbb", "a line\n")  # type: ignore[attr-defined,func-returns-value]
    assert words(run("logs", "wine-1", "--replica", "1")) == ["a line"]
    assert (asked[0]["replica"], asked[0]["launch"]) == (1, None)
    assert run("logs", "wine-1", "--replica", "-1").exit_code == 2


def test_events_and_launches_have_a_column_for_replicas_only_where_there_are_several(
    answering: Answering,
) -> None:
    event = {"at": AT, "launch_id": "aaa", "replica": 0, "state": "ready", "reason": "healthy"}
    launch = {
        "launch_id": "aaa", "replica": 0, "started_at": AT, "ready_at": AT, "ended_at": None,
        "reason": "healthy",
    }  # fmt: skip
    answering.answers = {"events": [event], "launches": [launch]}
    assert words(run("events", "wine-1"))[0] == "AT LAUNCH STATE REASON"
    assert words(run("launches", "wine-1"))[0] == "LAUNCH STARTED READY ENDED REASON"
    answering.answers = {
        "events": [{**event, "replica": 1}, {**event, "replica": None, "launch_id": None}],
        "launches": [{**launch, "replica": 1}],
    }
    assert words(run("events", "wine-1"))[0] == "AT REPLICA LAUNCH STATE REASON"
    assert words(run("launches", "wine-1"))[1].split()[:2] == ["aaa", "1"]


@pytest.mark.parametrize(
    ("wanted", "ready", "shown"), [(1, 1, ""), (3, 3, ""), (0, 0, ""), (1, 2, ""), (3, 2, MISSING)]
)
def test_missing_replicas(wanted: int, ready: int, shown: str) -> None:
    assert launch_view.missing({**THREE, "replicas": {"wanted": wanted, "ready": ready}}) == shown
