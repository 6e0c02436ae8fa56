"""Deployments without launches in the state: what parks, wakes up, and settles in another state."""

import pytest

from model_deployment.core.actions import Stop
from model_deployment.core.domain import Desired, Rest, State, Step
from model_deployment.core.errors import IllegalTransition
from tests.support.stored import KEY, NOW, Store, by_number, leader, moves


async def test_a_parked_deployment_is_roused_by_a_request(store: Store) -> None:
    parked = await store.bring(State.PARKED)
    assert parked.rest == Rest(State.PARKED, "gone")
    assert (parked.launches, parked.parking, parked.starts, parked.proven) == ((), "", 0, True)
    row = await store.deployments.rouse(parked, "started by a request")
    assert (row.rest, row.state, row.reason) == (None, State.PENDING, "started by a request")
    assert (await moves(store))[-1] == (State.PARKED, State.PENDING, "started by a request")
    with pytest.raises(IllegalTransition):
        await store.deployments.rouse(parked, "again")
    with pytest.raises(IllegalTransition, match="it is pending"):
        await store.deployments.rouse(row, "again")


@pytest.mark.parametrize("state", [State.PARKED, State.FAILED])
async def test_what_rests_settles_in_another_state(store: Store, state: State) -> None:
    row = await store.bring(state, Desired.STOPPED)
    stopped = await store.deployments.settle(row, State.STOPPED, "undeployed")
    assert stopped.rest == Rest(State.STOPPED, "undeployed")
    assert (await moves(store))[-1] == (state, State.STOPPED, "undeployed")
    for again in (row, stopped):
        with pytest.raises(IllegalTransition):
            await store.deployments.settle(again, State.FAILED, "undeployed")


async def test_what_has_launches_does_not_settle(store: Store) -> None:
    row = await store.bring(State.READY)
    with pytest.raises(IllegalTransition, match="from ready to stopped"):
        await store.deployments.settle(row, State.STOPPED, "undeployed")


async def test_parking_stops_all_replicas_and_drops_the_pending(store: Store) -> None:
    row = await store.grow(await store.bring(State.READY), 2)
    row = await store.launches.add(row, "one more")
    parking = await store.deployments.park(row, "no request for 5 s")
    assert parking.parking == "no request for 5 s"
    assert [one.replica for one in parking.launches] == [0, 1]
    for number in range(2):
        assert parking.rest is None
        assert parking.parking
        stop = Stop(parking.parking, Step.DRAIN, NOW)
        parking = await store.launches.stop(parking, leader(parking), stop)
        parking = await store.end(parking, State.PARKED, launch=by_number(parking, number))
    assert (parking.rest, parking.parking) == (Rest(State.PARKED, "gone"), "")


async def test_parking_breaks_off_when_the_deployment_is_wanted(store: Store) -> None:
    row = await store.bring(State.READY)
    parking = await store.deployments.park(row, "idle")
    awake = await store.deployments.wake(KEY)
    assert awake is not None
    assert (awake.parking, awake.state) == ("", State.READY)
    with pytest.raises(IllegalTransition):  # decided before
        await store.launches.stop(parking, leader(parking), Stop("idle", Step.DRAIN, NOW))


@pytest.mark.parametrize("state", [one for one in State if one is not State.READY])
async def test_only_what_is_ready_is_parked(store: Store, state: State) -> None:
    row = await store.bring(state)
    with pytest.raises(IllegalTransition, match=f"cannot park m-1: it is {state}"):
        await store.deployments.park(row, "idle")
