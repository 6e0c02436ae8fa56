"""The table of launches: what each line tells, and when there is a table at all."""

from collections.abc import Mapping
from typing import Any

import pytest

from model_deployment.core.domain import Address, Handle, Launch, LaunchRole, LaunchState, State
from model_deployment.core.measures import Memory
from model_deployment.core.replica_counts import missing_replicas
from model_deployment.dashboard.launch_rows import (
    launch_rows,
    replicas_shown,
    threads_shown,
    worth_a_table,
)
from model_deployment.telemetry.prometheus import LaunchSnapshot
from tests.support.launched import deployed, launch


def identify(handle: Handle) -> Mapping[str, str | int]:
    return {
        name: handle.ref[name]
        for name in ("pid", "container", "image", "threads")
        if name in handle.ref
    }


def rows(*launches: Launch) -> Any:
    seen = [LaunchSnapshot(one, Memory(2**20, None), 3) for one in launches]
    return launch_rows(seen, identify)


def test_line_of_a_process() -> None:
    (one,) = rows(launch(replica=1))
    assert (one.replica, one.role, one.state, one.reason) == (1, "", "ready", "")
    assert (one.runs, one.detail, one.port) == ("process 4001", "", 18501)
    assert (one.memory, one.in_flight, one.failing) == ("1 MB", "3", False)


def test_line_of_a_container_shortens_its_id() -> None:
    ref = {"container": "c0ffee" * 10, "image": "md-model:3f6d"}
    handle = Handle("serving-0", Address("model", 80, "/run/socket"), ref)
    (one,) = rows(launch(handle=handle, port=None))
    assert (one.runs, one.port) == ("container c0ffeec0ffee", None)
    assert one.detail == f"{'c0ffee' * 10} of md-model:3f6d"


@pytest.mark.parametrize(("ref", "shown"), [({"threads": 4}, "4"), ({}, "")])
def test_line_has_the_threads_where_they_are_known(ref: dict[str, int], shown: str) -> None:
    handle = Handle("serving-0", Address("127.0.0.1", 18501), {"pid": 4001, **ref})
    assert rows(launch(handle=handle))[0].threads == shown
    assert threads_shown(handle, identify) == shown
    assert threads_shown(None, identify) == ""


def test_line_of_what_has_no_process_yet() -> None:
    pending = launch(LaunchState.PENDING, 2, tries=3, reason="KeyError: 'age'")
    (one,) = rows(pending)
    assert (one.launch_id, one.runs, one.in_flight, one.failing) == ("", "", "", True)
    assert one.reason == "KeyError: 'age'"


@pytest.mark.parametrize(
    ("role", "told"), [(LaunchRole.COMING, "has to prove a change"), (LaunchRole.SERVING, "")]
)
def test_line_says_what_a_launch_does_beside_the_replicas(role: LaunchRole, told: str) -> None:
    assert rows(launch(LaunchState.STARTING, 0, role))[0].role == told


def test_table_is_there_where_the_page_does_not_say_it_all() -> None:
    container = Handle("serving-0", Address("m", 80), {"container": "c0ffee"})
    retiring = launch(LaunchState.STOPPING, 0, LaunchRole.RETIRING)
    for launches, replicas, expected in (
        ([launch()], 1, False),
        ([launch(handle=container)], 1, True),
        ([launch()], 2, True),
        ([launch(), retiring], 1, True),
    ):
        row = deployed(launches=launches, replicas=replicas)
        assert worth_a_table(row, rows(*launches)) is expected, launches
    assert not worth_a_table(deployed(state=State.PARKED), [])


@pytest.mark.parametrize(
    ("ready", "wanted", "shown", "missing"),
    [
        (1, 1, "", ""),
        (3, 3, "3/3", ""),
        (2, 3, "2/3", "2 of 3 replicas serve"),
        (2, 1, "2/1", ""),
        (0, 2, "0/2", ""),  # the state says it
    ],
)
def test_replicas_are_counted_where_there_are_several(
    ready: int, wanted: int, shown: str, missing: str
) -> None:
    launches = [launch(replica=number) for number in range(ready)] or [launch(LaunchState.STARTING)]
    row = deployed(launches=launches, replicas=wanted)
    assert (replicas_shown(row), missing_replicas(row)) == (shown, missing)


def test_replica_that_fails_is_named() -> None:
    failing = launch(LaunchState.PENDING, 2, tries=2, reason="KeyError: 'age'")
    row = deployed(launches=[launch(), launch(LaunchState.STARTING, 1), failing])
    assert missing_replicas(row) == "1 of 3 replicas serve; replica 2: KeyError: 'age'"
