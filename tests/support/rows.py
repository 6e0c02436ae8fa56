"""Rows of the state database, by hand and by hypothesis."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from model_deployment.core.actions import (
    Artifact,
    DeploymentObservation,
    Observation,
    Policy,
    RowIndependence,
)
from model_deployment.core.domain import (
    Address,
    Deployment,
    Desired,
    Exit,
    Handle,
    Launch,
    LaunchRole,
    LaunchState,
    Rest,
    State,
    Step,
)
from model_deployment.core.measures import Health, LaunchTraffic
from model_deployment.core.names import ModelKey
from model_deployment.core.options import AUTO, EnvManager, Options
from model_deployment.core.replacement import Replacement, ReplacementState, Strategy

KEY = ModelKey("diabetes", 1)
LAUNCH = "0123456789abcdef"
PORT = 8001
HANDLE = Handle(LAUNCH, Address("127.0.0.1", PORT), {"pid": 1})
AT = datetime(2026, 1, 31, tzinfo=UTC)

#: States of a deployment in which its leader may have processes.
LIVE = frozenset({State.STARTING, State.READY, State.STOPPING})
#: States in which a deployment has no launch that serves.
AT_REST = frozenset({State.PARKED, State.STOPPED, State.FAILED})

_OF_LAUNCH = frozenset(one.name for one in fields(Launch))


def launch(state: LaunchState, role: LaunchRole = LaunchRole.SERVING, **changes: Any) -> Launch:
    """A launch as the schema allows it: processes exactly in the states that have some."""
    replica = changes.get("replica", 0)
    plain = Launch(
        id=changes.get("id", replica + 1),
        role=role,
        state=state,
        options=Options(batch_max_rows=0),
        artifact="diabetes-1-0",
        generation=1,
        replica=replica,
        since=AT,
        step=Step.TERMINATE if state is LaunchState.STOPPING else None,
    )
    if state is not LaunchState.PENDING:
        id = LAUNCH if plain.id == 1 else f"{plain.id:016x}"
        port = PORT + plain.id - 1
        plain = replace(
            plain,
            launch_id=id,
            port=port,
            handle=Handle(id, Address("127.0.0.1", port), {"pid": 1}),
        )
    return replace(plain, **changes)


def row(state: State, desired: Desired = Desired.RUNNING, **changes: Any) -> Deployment:
    """A deployment in a state, with one launch where the state has one.

    Args:
        changes: columns of the deployment, and of its launch.
    """
    both = {
        name: changes[name] for name in ("options", "artifact", "generation") if name in changes
    }
    own = {name: value for name, value in changes.items() if name in both or name not in _OF_LAUNCH}
    plain = Deployment(
        key=KEY,
        desired=desired,
        options=Options(batch_max_rows=0),
        artifact="diabetes-1-0",
        created_at=AT,
    )
    if state in AT_REST:
        reason, tries = changes.get("reason", ""), changes.get("tries", 0)
        return replace(plain, rest=Rest(state, reason, tries), **own)
    of_launch = {name: value for name, value in changes.items() if name in _OF_LAUNCH}
    return replace(plain, **{"launches": (launch(LaunchState(state), **of_launch),)} | own)


def only(deployment: Deployment) -> Launch:
    """The launch of a deployment that has one."""
    (found,) = deployment.launches
    return found


def replacement(
    state: ReplacementState = ReplacementState.COMING,
    strategy: Strategy = Strategy.BESIDE,
    **changes: Any,
) -> Replacement:
    """A change of options."""
    plain = Replacement(
        1,
        state,
        strategy,
        Options(workers=2, batch_max_rows=0),
        "asked for",
        "change of workers",
        AT,
    )
    return replace(plain, **changes)


times = st.floats(0, 1e9)
reasons = st.text(max_size=20)
tries = st.integers(0, 3000)


@st.composite
def launches(
    draw: st.DrawFn,
    /,
    states: Sequence[LaunchState] = tuple(LaunchState),
    role: LaunchRole = LaunchRole.SERVING,
    **given: Any,
) -> Launch:
    """Any launch the schema allows."""
    state = draw(st.sampled_from(states))
    drawn = {
        "options": draw(options),
        "generation": draw(st.integers(1, 3)),
        "step": draw(st.sampled_from(Step)) if state is LaunchState.STOPPING else None,
        "tries": draw(tries),
        "kills": draw(tries),
        "not_before": draw(times),
        "deadline": draw(st.none() | times),
        "ready_since": draw(st.none() | times),
        "reason": draw(reasons),
    }
    return launch(state, role, **drawn | given)


#: Built once, which is quicker.
options = st.sampled_from([
    Options(env_manager=manager, batch_max_rows=limit, idle_timeout=idle)
    for manager in EnvManager
    for limit in (0, 64, AUTO)
    for idle in (0.0, 0.0, 1.0, 600.0)
])  # fmt: skip


@st.composite
def rows(
    draw: st.DrawFn,
    states: Sequence[State] = tuple(State),
    desired: Sequence[Desired] = tuple(Desired),
) -> Deployment:
    """Any deployment with one launch at most, as the schema allows it."""
    state = draw(st.sampled_from(states))
    chosen = draw(options)
    plain = row(
        state,
        draw(st.sampled_from(desired)),
        options=chosen,
        proven=draw(st.booleans()),
        parking=draw(st.sampled_from(["", "idle"])) if state is State.STOPPING else "",
    )
    if plain.rest is not None:
        return replace(plain, rest=replace(plain.rest, reason=draw(reasons), tries=draw(tries)))
    one = draw(launches([LaunchState(state)], options=chosen, generation=plain.generation))
    return replace(plain, launches=(one,))


@st.composite
def replicated_rows(draw: st.DrawFn, desired: Sequence[Desired] = tuple(Desired)) -> Deployment:
    """Any deployment the schema allows: with several replicas, a replacement, and launches of all roles."""
    generation = draw(st.integers(1, 3))
    older = st.integers(1, generation)
    numbers = draw(st.lists(st.integers(0, 5), max_size=4, unique=True))
    made = [
        draw(launches(replica=number, id=id, generation=draw(older), ready_since=None))
        for id, number in enumerate(sorted(numbers), 1)
    ]
    it = draw(st.none() | replacements)
    if it and it.under_way and it.strategy is Strategy.BESIDE and draw(st.booleans()):
        states = [LaunchState.PENDING, LaunchState.STARTING, LaunchState.STOPPING]
        made.append(draw(launches(states, LaunchRole.COMING, id=9, generation=generation + 1)))
    for id in range(10, 10 + draw(st.integers(0, 2))):
        made.append(
            draw(
                launches([LaunchState.STOPPING], LaunchRole.RETIRING, id=id, generation=draw(older))
            )
        )
    resting = Rest(draw(st.sampled_from(sorted(AT_REST))), draw(reasons))
    return Deployment(
        key=KEY,
        desired=draw(st.sampled_from(desired)),
        options=draw(options),
        artifact="diabetes-1-0",
        created_at=AT,
        rest=None if numbers else resting,
        launches=tuple(made),
        generation=generation,
        replicas=draw(st.integers(1, 4)),
        proven=draw(st.booleans()),
        parking=draw(st.sampled_from(["", "", "idle"])) if numbers else "",
        replacement=it,
    )


replacements = st.builds(
    replacement,
    st.sampled_from(ReplacementState),
    st.sampled_from(Strategy),
    deadline=st.none() | times,
)

_health = st.builds(Health, st.booleans(), st.integers(0, 10))
traffic = st.builds(
    LaunchTraffic,
    in_flight=st.integers(0, 3),
    oldest=st.floats(0, 1000),
    timeouts_in_row=st.integers(0, 10),
    reading=st.integers(0, 2),
    idle=st.floats(0, 1000),
)

observations = st.builds(
    Observation,
    exit=st.none() | st.builds(Exit, reasons, st.none() | st.integers(-64, 255), st.booleans()),
    health=_health,
    traffic=traffic,
    artifact=st.sampled_from(Artifact),
    artifact_error=reasons,
    row_independence=st.sampled_from(RowIndependence),
    row_independence_reason=reasons,
    may_start=st.booleans(),
    suspended=st.booleans(),
    closing=st.booleans(),
    memory_pressure=st.booleans(),
)


def _by_launch(found: Sequence[LaunchTraffic]) -> Mapping[str, LaunchTraffic]:
    ids = [LAUNCH, *(f"{id:016x}" for id in range(2, 14))]
    return dict(zip(ids, found, strict=False))


deployment_observations = st.builds(
    DeploymentObservation,
    traffic=st.lists(traffic, max_size=13).map(_by_launch),
    closing=st.booleans(),
    wake_requested=st.booleans(),
    park_requested=st.sampled_from(["", "", "parked by someone"]),
    evict=st.booleans(),
    memory_shortage=st.sampled_from(["", "", "too little memory"]),
)

policies = st.builds(
    Policy,
    drain_timeout=st.floats(0, 100),
    stop_grace=st.floats(0, 100),
    probe_failures=st.integers(1, 5),
    tries=st.integers(1, 5000),
)
