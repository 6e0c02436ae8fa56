"""Rows of the state database, by hand and by hypothesis."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from model_deployment.core.actions import Artifact, Observation, Policy, RowIndependence
from model_deployment.core.domain import (
    Address,
    Deployment,
    Desired,
    Exit,
    Handle,
    Health,
    LaunchTraffic,
    State,
    Step,
)
from model_deployment.core.lifecycle import LIVE
from model_deployment.core.names import ModelKey
from model_deployment.core.options import AUTO, EnvManager, Options

KEY = ModelKey("diabetes", 1)
LAUNCH = "0123456789abcdef"
PORT = 8001
HANDLE = Handle(LAUNCH, Address("127.0.0.1", PORT), {"pid": 1})


def row(state: State, desired: Desired = Desired.RUNNING, **changes: Any) -> Deployment:
    """A row as the schema allows it: a launch exactly in the states that have one."""
    plain = Deployment(
        key=KEY,
        desired=desired,
        state=state,
        options=Options(batch_max_rows=0),
        artifact="diabetes-1-0",
        created_at=datetime(2026, 1, 31, tzinfo=UTC),
        step=Step.TERMINATE if state is State.STOPPING else None,
    )
    if state in LIVE:
        plain = replace(plain, launch_id=LAUNCH, handle=HANDLE, port=PORT)
    return replace(plain, **changes)


times = st.floats(0, 1e9)
reasons = st.text(max_size=20)


@st.composite
def rows(
    draw: st.DrawFn,
    states: Sequence[State] = tuple(State),
    desired: Sequence[Desired] = tuple(Desired),
) -> Deployment:
    """Any row the schema allows."""
    state = draw(st.sampled_from(states))
    return row(
        state,
        draw(st.sampled_from(desired)),
        options=Options(
            env_manager=draw(st.sampled_from(EnvManager)),
            batch_max_rows=draw(st.sampled_from([0, 64, AUTO])),
            idle_timeout=draw(st.sampled_from([0.0, 0.0, 1.0, 600.0])),
        ),
        step=draw(st.sampled_from(Step)) if state is State.STOPPING else None,
        tries=draw(st.integers(0, 3000)),
        kills=draw(st.integers(0, 3000)),
        proven=draw(st.booleans()),
        not_before=draw(times),
        deadline=draw(st.none() | times),
        ready_since=draw(st.none() | times),
        reason=draw(reasons),
        parking=state is State.STOPPING and draw(st.booleans()),
    )


observations = st.builds(
    Observation,
    exit=st.none() | st.builds(Exit, reasons, st.none() | st.integers(-64, 255)),
    health=st.builds(Health, st.booleans(), st.integers(0, 10)),
    traffic=st.builds(
        LaunchTraffic,
        in_flight=st.integers(0, 3),
        oldest=st.floats(0, 1000),
        timeouts_in_row=st.integers(0, 10),
        reading=st.integers(0, 2),
        idle=st.floats(0, 1000),
    ),
    artifact=st.sampled_from(Artifact),
    artifact_error=reasons,
    row_independence=st.sampled_from(RowIndependence),
    row_independence_reason=reasons,
    may_start=st.booleans(),
    suspended=st.booleans(),
    closing=st.booleans(),
    wake_requested=st.booleans(),
    evict=st.booleans(),
    memory_shortage=st.sampled_from(["", "", "too little memory"]),
    memory_pressure=st.booleans(),
)

policies = st.builds(
    Policy,
    drain_timeout=st.floats(0, 100),
    stop_grace=st.floats(0, 100),
    probe_failures=st.integers(1, 5),
    tries=st.integers(1, 5000),
)
