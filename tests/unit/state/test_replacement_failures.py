"""Replacements that fail or are not wanted any more: what is left of them, and how long."""

import pytest

from model_deployment.core.domain import Deployment, Desired, State, Step
from model_deployment.core.options import Options
from model_deployment.core.replacement import ReplacementState
from tests.support.stored import KEY, NOW, Store, moves
from tests.support.stored_replacements import PURPOSE, ask, begun


async def failed(store: Store, launch: bool) -> Deployment:
    row = await (begun(store) if launch else ask(store, await store.bring(State.READY)))
    return await store.replacements.give_up(row, "it broke", NOW)


@pytest.mark.parametrize("launch", [False, True])
async def test_a_failure_names_its_own_launch(store: Store, launch: bool) -> None:
    row = await failed(store, launch)
    assert (row.launch_id, row.coming) == ("launch1", None)
    assert row.replacement
    assert (row.replacement.state, row.replacement.reason) == (ReplacementState.FAILED, "it broke")
    assert await store.replacements.failed_launch(row) == ("launch2" if launch else None)
    text = f"{PURPOSE} failed: it broke"
    assert (await moves(store))[-1] == (State.READY, State.READY, text)
    assert (await store.ports.usage(NOW)).leased == 1


@pytest.mark.parametrize("launch", [False, True])
async def test_a_change_that_cannot_begin_fails(store: Store, launch: bool) -> None:
    row = await (begun(store) if launch else ask(store, await store.bring(State.READY)))
    row = await store.replacements.fail(row, "it could not be started in time", NOW)
    assert row.replacement
    assert row.replacement.is_over
    assert (row.coming, row.options, row.launch_id) == (None, Options(), "launch1")
    ends = [(one.launch_id, one.step, one.deadline) for one in row.retiring]
    assert ends == ([("launch2", Step.TERMINATE, NOW)] if launch else [])
    if launch:
        events = await moves(store)
        row = await store.launches.forget(row, row.retiring[0], NOW)
        assert row.retiring == ()
        assert await moves(store) == events


@pytest.mark.parametrize("how", ["deploy", "wake", "request", "change", "undeploy", "another"])
async def test_a_failure_is_forgotten_when_it_goes_on(store: Store, how: str) -> None:
    row = await failed(store, launch=True)
    if how == "deploy":
        await store.deployments.forget_failure(KEY)
    elif how == "change":
        await store.replacements.change_options(row, Options(capture_rate=0.0), None, "change")
    elif how == "undeploy":
        await store.deployments.want_stopped(KEY)
    elif how == "another":
        row = await ask(store, row)
        assert row.replacement
        assert row.replacement.under_way
        return
    else:
        row = await store.park(row)
        assert row.replacement is not None
        if how == "request":
            await store.deployments.rouse(row, "started by a request")
        else:
            await store.deployments.wake(KEY)
    assert (await store.reread(row)).replacement is None


async def test_what_is_under_way_is_not_forgotten(store: Store) -> None:
    row = await ask(store, await store.bring(State.READY))
    await store.deployments.forget_failure(KEY)
    assert (await store.reread(row)).replacement is not None


@pytest.mark.parametrize("launch", [False, True])
async def test_nothing_is_left_of_a_change_of_what_is_undeployed(
    store: Store, launch: bool
) -> None:
    row = await (begun(store) if launch else ask(store, await store.bring(State.READY)))
    await store.deployments.want_stopped(KEY)
    row = await store.reread(row)
    assert (row.replacement, row.coming, row.desired) == (None, None, Desired.STOPPED)
    ends = [(one.launch_id, one.step, one.deadline, one.reason) for one in row.retiring]
    expected = [("launch2", Step.TERMINATE, 0.0, "not wanted any more")]
    assert ends == (expected if launch else [])
    # It was to serve, and does not become what serves.
    row, _ = await store.deployments.want_running(KEY, Options(), row.artifact, 9)
    assert (row.replacement, row.coming) == (None, None)
