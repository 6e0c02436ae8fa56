"""The controller's client of Prefect, against the real server and the stub of the other tests."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from model_deployment.flows.base import (
    FlowState,
    FlowsUnavailable,
    FlowType,
    NewRun,
    RunQuery,
    RunRefused,
    UnknownRun,
)
from model_deployment.flows.prefect import Address, PrefectFlows
from tests.support.prefect_engine import PYTHON, Engine, real_engine, stub_engine

_NOWHERE = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module", params=["stub", "prefect"])
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    if request.param == "stub":
        with stub_engine() as found:
            yield found
        return
    if not (PYTHON.parent.parent / "lib").exists():
        pytest.skip("the flows' environment is not installed (make flows)")
    folder: Path = tmp_path_factory.mktemp("prefect")
    with real_engine(folder) as found:
        yield found


@pytest.fixture
async def flows(engine: Engine) -> AsyncIterator[PrefectFlows]:
    made = PrefectFlows(lambda: engine.address)
    try:
        if not await made.ready():
            engine.serve()
        yield made
    finally:
        await made.close()


def new(key: str, **parameters: object) -> NewRun:
    given = {"experiment": "income", **parameters}
    return NewRun(FlowType.TRAIN, key, given, (f"request:{key}", "experiment:income"))


async def test_a_run_is_started_once_and_found_by_its_tags(flows: PrefectFlows) -> None:
    assert await flows.ready()
    made = await flows.start(new("once", data="ab"))
    assert (made.flow, made.state) == ("train_flow", FlowState.SCHEDULED)
    assert made.parameters == {"experiment": "income", "data": "ab"}
    assert made.tag("request") == "once"
    assert made.created.tzinfo is not None
    assert (await flows.start(new("once"))).id == made.id
    [found] = await flows.runs(RunQuery(tags=["request:once"]))
    assert (found.id, found.flow) == (made.id, "train_flow")
    assert await flows.runs(RunQuery(tags=["request:once"], states=[FlowState.RUNNING])) == []
    assert [one.id for one in await flows.runs(RunQuery(ids=[made.id]))] == [made.id]


async def test_the_newest_run_is_the_first(flows: PrefectFlows) -> None:
    made = [await flows.start(new(f"order-{number}")) for number in range(3)]
    found = await flows.runs(RunQuery(limit=2))
    assert [one.id for one in found] == [made[2].id, made[1].id]


async def test_a_run_has_times_tasks_logs_and_a_result(flows: PrefectFlows, engine: Engine) -> None:
    run = (await flows.start(new("whole"))).id
    engine.enter(run, "RUNNING")
    task = engine.task(run, "fit")
    engine.log(run, "one", "two")
    engine.leave(run, '{"version": 3}')
    engine.enter(run, "COMPLETED")
    found = await flows.run(run)
    assert found.state is FlowState.COMPLETED
    assert found.started
    assert found.ended
    assert found.started <= found.ended
    [seen] = await flows.tasks([run])
    assert (seen.id, seen.run, seen.name, seen.state) == (task, run, "fit", FlowState.RUNNING)
    assert [line.message for line in await flows.logs([run])] == ["one", "two"]
    assert [line.message for line in await flows.logs([run], offset=1)] == ["two"]
    assert (await flows.logs([run]))[0].level == "INFO"
    [left] = await flows.artifacts([run])
    assert (left.run, left.key, left.data) == (run, "result", '{"version": 3}')


async def test_a_run_that_waits_is_cancelled_at_once(flows: PrefectFlows) -> None:
    run = (await flows.start(new("waits"))).id
    assert (await flows.cancel(run)).state is FlowState.CANCELLED


async def test_a_run_that_runs_is_asked_to_end(flows: PrefectFlows, engine: Engine) -> None:
    run = (await flows.start(new("runs"))).id
    engine.enter(run, "RUNNING")
    assert (await flows.cancel(run)).state is FlowState.CANCELLING


async def test_what_has_ended_cannot_be_cancelled(flows: PrefectFlows, engine: Engine) -> None:
    run = (await flows.start(new("ended"))).id
    engine.enter(run, "RUNNING")
    engine.enter(run, "FAILED", "a reason")
    assert (await flows.run(run)).message == "a reason"
    with pytest.raises(RunRefused, match="cannot cancel"):
        await flows.cancel(run)


async def test_wrong_parameters_are_refused_with_the_reason(flows: PrefectFlows) -> None:
    with pytest.raises(RunRefused, match="experiment"):
        await flows.start(NewRun(FlowType.TRAIN, "wrong", {"data": "ab"}))


async def test_an_unknown_run_is_unknown(flows: PrefectFlows) -> None:
    for call in (flows.run(_NOWHERE), flows.cancel(_NOWHERE)):
        with pytest.raises(UnknownRun):
            await call


async def test_a_server_that_is_away_is_unavailable() -> None:
    nobody = PrefectFlows(lambda: Address("http://127.0.0.1:9/api", ""))
    for flows in (nobody, PrefectFlows(lambda: None)):
        assert not await flows.ready()
        with pytest.raises(FlowsUnavailable):
            await flows.run(_NOWHERE)
        await flows.close()
