"""Several replicas, whatever happens to them: it comes to what is wanted, and what serves is kept."""

import random
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from model_deployment.core.actions import Policy
from model_deployment.core.deployment_lifecycle import TRANSITIONS
from model_deployment.core.domain import Desired, LaunchState, Rest, State
from model_deployment.core.replacement import Strategy
from tests.support.replica_world import CRASHED, ENDED, UNFIT, Process, ReplicaWorld

MANY = st.integers(1, 5)


@st.composite
def disturbances(draw: st.DrawFn) -> list[tuple[str, Any]]:
    kinds = {
        "tick": st.just(0),
        "crash": st.integers(0, 4),
        "kill": st.integers(0, 4),
        "scale": MANY,
        "change": st.sampled_from(Strategy),
        "fail": st.sampled_from([None, CRASHED, UNFIT]),
        "stubborn": st.booleans(),
        "busy": st.integers(0, 4),
        "park": st.just(0),
        "undeploy": st.just(0),
        "close": st.just(0),
    }
    chosen = st.sampled_from(["tick"] * 6 + [*kinds])
    return [(kind, draw(kinds[kind])) for kind in draw(st.lists(chosen, max_size=60))]


def disturb(world: ReplicaWorld, kind: str, value: Any) -> None:
    """What happens to a deployment from outside."""
    live = [one for one in world.row.launches if one.is_live]
    match kind:
        case "crash" | "kill" if live:
            world.process(live[value % len(live)]).exit = CRASHED if kind == "crash" else ENDED
        case "busy" if live:
            process = world.process(live[value % len(live)])
            process.in_flight = 1 - process.in_flight
        case "scale":
            world.scale(value)
        case "change" if _changeable(world):
            world.change(value, workers=world.row.options.workers % 8 + 1)
        case "fail":
            world.next = replace(world.next, fails=value)
        case "stubborn":
            world.next = replace(world.next, obeys=value)
        case "park":
            world.park_requested = "" if world.park_requested else "parked by someone"
        case "undeploy":
            world.undeploy()
        case "close":
            world.closing = not world.closing
        case _:
            world.tick()


def _changeable(world: ReplicaWorld) -> bool:
    it, row = world.row.replacement, world.row
    ready = row.state is State.READY and row.desired is Desired.RUNNING and not row.parking
    return ready and not (it and it.under_way)


def quieten(world: ReplicaWorld) -> None:
    """No further faults; what is parked or failed is wanted again."""
    world.next, world.closing, world.park_requested = Process(), False, ""
    for process in world.processes.values():
        process.in_flight = 0
        process.fails = None
    world.wake_requested = True


@given(MANY, disturbances(), st.integers(1, 6))
@settings(max_examples=150, deadline=None)
def test_whatever_happens_it_comes_to_what_is_wanted(
    replicas: int, happens: list[tuple[str, Any]], tries: int
) -> None:
    """The world checks after each transaction that rows and moves are legal."""
    world = ReplicaWorld.deployed(replicas)
    world.policy = Policy(tries=tries)
    for kind, value in happens:
        disturb(world, kind, value)
    quieten(world)
    world.settle()
    row = world.row
    if row.desired is Desired.STOPPED:
        assert (row.state, row.launches, row.replacement) == (State.STOPPED, (), None)
        return
    assert row.state in (State.READY, State.FAILED), row
    assert not row.retiring
    assert row.replacement is None or row.replacement.is_over, row
    if row.state is State.READY:
        assert len(row.ready) == len(row.launches) == row.replicas, row
        assert {one.generation for one in row.ready} == {row.generation}, row


@given(disturbances())
@settings(max_examples=150, deadline=None)
def test_one_action_at_a_time_keeps_what_serves(happens: list[tuple[str, Any]]) -> None:
    """Without faults of processes, no decision of the deployment makes fewer of them ready than wanted."""
    world = ReplicaWorld.serving(3)
    quiet = {"tick", "scale", "change", "stubborn", "busy"}
    least = 3
    for kind, value in [one for one in happens if one[0] in quiet]:
        if (kind, value) == ("change", Strategy.RECREATE):
            continue
        least = min(least, value) if kind == "scale" else least
        disturb(world, kind, value)
        assert len(world.row.ready) >= least, (kind, world.row)


def test_what_several_replicas_add_to_the_table_does_occur() -> None:
    added = {
        (State.READY, State.STARTING),
        (State.STOPPING, State.STARTING),
        (State.PENDING, State.PARKED),
        (State.STARTING, State.PARKED),
        (State.READY, State.PARKED),
    }
    assert added <= {*TRANSITIONS}
    seen = _parked_while_one_is(LaunchState.STARTING) | _parked_while_one_is(LaunchState.PENDING)
    dice = random.Random(7)
    for _ in range(150):
        world = ReplicaWorld.serving(dice.randint(1, 3))
        for _ in range(12):
            kind = dice.choice(["tick", "tick", "crash", "busy", "park", "close"])
            disturb(world, kind, dice.randint(0, 2))
        seen |= world.seen
    assert added - seen == set()


def _parked_while_one_is(state: LaunchState) -> set[tuple[State, State]]:
    world = ReplicaWorld.serving(2)
    world.process(world.row.ready[1]).exit = CRASHED
    while world.row.serving[1].state is not state:
        world.tick()
    for one in world.row.serving:
        world.processes.get(one.launch_id or "", Process()).exit = ENDED
    world.park_requested = "parked by someone"
    world.tick()
    assert world.row.rest == Rest(State.PARKED, "parked by someone")
    return world.seen
