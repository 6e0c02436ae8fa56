"""What happened to a deployment: events, and the launches they tell of."""

from datetime import UTC, datetime

from model_deployment.core.domain import Address, Desired, Handle, State
from model_deployment.core.names import ModelKey
from model_deployment.state.deployments import live_launches
from tests.support.stored import FIRST, Store

KEY = ModelKey("m", 1)


async def test_events_tell_the_whole_story_newest_first(store: Store) -> None:
    before = datetime.now(UTC)
    await store.bring(State.STOPPED, Desired.STOPPED)
    row = await store.launch(await store.deploy())
    await store.deployments.note(row, "adopted")
    await store.end(row, State.STOPPED)
    events = await store.deployments.events(KEY)
    assert [(event.previous, event.state, event.launch_id, event.reason) for event in events] == [
        (State.STARTING, State.STOPPED, "launch1", "gone"),
        (State.STARTING, State.STARTING, "launch1", "adopted"),
        (State.PENDING, State.STARTING, "launch1", "launch on port 8001"),
        (State.STOPPED, State.PENDING, None, "deploy asked for"),
        (State.STOPPED, State.STOPPED, None, "undeploy asked for"),
        (State.PENDING, State.STOPPED, None, "gone"),
        (None, State.PENDING, None, "deploy asked for"),
    ]
    times = [event.at for event in reversed(events)]
    assert times == sorted(times)
    assert -0.01 < (times[0] - before).total_seconds() < 10
    assert await store.deployments.events(KEY, 2) == events[:2]


async def test_events_of_others_are_not_shown(store: Store) -> None:
    await store.deploy("m", 2)
    await store.deploy("n", 1)
    assert await store.deployments.events(KEY) == []
    assert await store.deployments.last_launch(KEY) is None


async def test_launches_come_newest_first_and_once(store: Store) -> None:
    row = await store.deploy()
    for _ in range(3):
        row = await store.end(await store.launch(row), State.PENDING)
    await store.launch(await store.deploy("other"))
    assert await store.deployments.launch_ids(KEY, 9) == ["launch3", "launch2", "launch1"]
    assert await store.deployments.launch_ids(KEY, 2) == ["launch3", "launch2"]
    assert await store.deployments.last_launch(KEY) == "launch3"


async def test_pruning_keeps_the_newest_events_of_each_deployment(store: Store) -> None:
    few, many = await store.deploy("few"), await store.deploy("many")
    for number in range(20):
        await store.deployments.note(many, f"note {number}")
    await store.deployments.prune_events(3)
    kept = [event.reason for event in await store.deployments.events(many.key)]
    assert kept == ["note 19", "note 18", "note 17"]
    assert len(await store.deployments.events(few.key)) == 1


async def test_a_handle_is_noted_only_where_its_launch_is(store: Store) -> None:
    row = await store.bring(State.STARTING)
    other = await store.deploy("other")
    await store.launches.record_handle(Handle("unknown", Address("h", 1), {"pid": 1}))
    assert await store.reread(row) == row
    assert await store.reread(other) == other
    assert row.launch_id is not None
    handle = Handle(row.launch_id, Address("127.0.0.1", FIRST), {"a": [1, {"b": None}]})
    await store.launches.record_handle(handle)
    assert (await store.reread(row)).handle == handle


async def test_the_launches_rows_account_for(store: Store) -> None:
    row = await store.launch(await store.deploy("a"))
    await store.deploy("b")
    assert live_launches(await store.deployments.all()) == {row.launch_id}
