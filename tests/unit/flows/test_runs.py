"""Requests of runs, over a stub of Prefect: nothing is lost, and nothing is started twice."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model_deployment.alerts.alert import Alert
from model_deployment.core.errors import Conflict, DiskFull, InvalidRequest, Unavailable
from model_deployment.flow_project import Project
from model_deployment.flows.base import (
    FlowRun,
    FlowState,
    FlowsUnavailable,
    FlowType,
    NewRun,
    RunQuery,
    RunRefused,
    UnknownRun,
)
from model_deployment.flows.deletion import delete_unused
from model_deployment.flows.news import RunNews
from model_deployment.flows.prefect import PrefectFlows
from model_deployment.flows.records import KEPT, Record, Records
from model_deployment.flows.runs import FlowRuns
from tests.support.flow_runs import SHA, Scene, flow_runs, record
from tests.support.prefect_engine import Engine, stub_engine
from tests.support.waiting import until


@pytest.fixture
def engine() -> Iterator[Engine]:
    with stub_engine() as found:
        found.serve()
        yield found


@pytest.fixture
async def scene(tmp_path: Path, engine: Engine) -> AsyncIterator[Scene]:
    async with flow_runs(tmp_path, engine) as found:
        yield found


async def in_engine(engine: Engine) -> list[str]:
    flows = PrefectFlows(lambda: engine.address)
    found = [one.id for one in await flows.runs(RunQuery())]
    await flows.close()
    return found


async def test_a_request_is_kept_before_the_engine_has_it_and_then_handed_over(
    tmp_path: Path, engine: Engine
) -> None:
    async with flow_runs(tmp_path, None) as away:
        made = await away.runs.request("train_flow", experiment="income", by="ann", data=SHA)
        await away.runs.tick()
        assert away.switch.asked == 1
        assert (await away.runs.find(made.id)).state is FlowState.REQUESTED
        assert await away.runs.using(SHA) == [made.id]
    async with flow_runs(tmp_path, engine) as back:
        await back.runs.tick()
        found = await back.runs.find(made.id)
        assert found.state is FlowState.SCHEDULED
        assert found.run
        assert {*found.run.tags} == {*made.tags}
        assert (await back.runs.find(found.run.id)).id == made.id


async def test_a_controller_killed_after_the_hand_over_starts_nothing_twice(
    tmp_path: Path, engine: Engine
) -> None:
    async with flow_runs(tmp_path, engine) as killed:
        made = await killed.runs.request("train_flow", experiment="income", by="")
        await killed.runs.tick()
        # As if the controller had been killed before it wrote what the engine had answered.
        killed.records.write(replace(killed.runs.known()[0], run=None))
    async with flow_runs(tmp_path, engine) as back:
        await back.runs.tick()
        assert len(await in_engine(engine)) == 1
        assert [one.id for one in await back.runs.all()] == [made.id]


async def test_a_run_is_followed_to_its_end_and_read_while_the_engine_is_away(
    scene: Scene, engine: Engine
) -> None:
    made = await scene.runs.request("full_flow", experiment="income", by="")
    await scene.runs.tick()
    run = (await scene.runs.find(made.id)).run
    assert run
    engine.enter(run.id, "RUNNING")
    engine.task(run.id, "fit")
    engine.log(run.id, "one", "Finished in state Completed()", "two", "three")
    await scene.runs.tick()
    assert [one.name for one in scene.runs.known()[0].tasks] == ["fit"]
    assert [one.message for one in await scene.runs.logs(made.id, 1, 1)] == ["two"]
    assert len(await scene.runs.logs(made.id, 0, 9, all=True)) == 4
    engine.leave(run.id, '{"version": 3}')
    engine.enter(run.id, "COMPLETED")
    await scene.runs.tick()
    scene.switch.at = None
    found = await scene.runs.find(run.id)
    assert (found.state, found.result) == (FlowState.COMPLETED, {"version": 3})
    assert [one.message for one in await scene.runs.logs(made.id, 1, 9)] == ["two", "three"]
    assert [one.id for one in scene.ended] == [made.id]
    assert await scene.runs.using(SHA) == []


async def test_a_long_log_keeps_its_begin_and_its_end(
    scene: Scene, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, lines in (("_FIRST", 2), ("_LAST", 3), ("_PAGE", 2)):
        monkeypatch.setattr(f"model_deployment.flows.mirror.{name}", lines)
    made = await scene.runs.request("train_flow", experiment="income", by="")
    await scene.runs.tick()
    run = scene.runs.known()[0].run
    assert run
    engine.log(run.id, *"abcdefgh")
    engine.enter(run.id, "FAILED")
    await scene.runs.tick()
    told = [one.message for one in await scene.runs.logs(made.id, 0, 99)]
    assert [*told[:2], *told[3:]] == [*"ab", *"fgh"]
    assert "3 lines are left out" in told[2]


async def test_a_run_that_the_engine_refuses_has_failed_and_says_why(tmp_path: Path) -> None:
    with stub_engine() as engine:
        engine.serve({"type": "object", "properties": {}, "required": ["missing"]})
        async with flow_runs(tmp_path, engine) as scene:
            made = await scene.runs.request("train_flow", experiment="income", by="")
            await scene.runs.tick()
            found = await scene.runs.find(made.id)
    assert found.state is FlowState.FAILED
    assert "'missing' is a required property" in found.message
    assert scene.ended == [found]


async def test_one_request_that_breaks_the_engine_holds_up_no_other(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await scene.runs.request("train_flow", experiment="income", by="", data=SHA)
    second = await scene.runs.request("train_flow", experiment="income", by="")
    start = PrefectFlows.start

    async def broken(self: PrefectFlows, new: NewRun) -> FlowRun:
        if new.key == first.id:
            raise FlowsUnavailable("it answered 500")
        return await start(self, new)

    monkeypatch.setattr(PrefectFlows, "start", broken)
    with pytest.raises(FlowsUnavailable) as told:
        await scene.runs.tick()
    assert first.id in told.value.detail
    states = [(await scene.runs.find(one.id)).state for one in (first, second)]
    assert states == [FlowState.REQUESTED, FlowState.SCHEDULED]


async def test_a_run_that_the_engine_has_lost_has_crashed(scene: Scene, tmp_path: Path) -> None:
    made = await scene.runs.request("train_flow", experiment="income", by="")
    await scene.runs.tick()
    with stub_engine() as other:
        other.serve()
        scene.switch.at = other.address
        await scene.runs.tick()
    found = await scene.runs.find(made.id)
    assert found.state is FlowState.CRASHED
    assert "does not know this run" in found.message
    assert scene.ended == [found]


async def test_runs_that_others_have_started_are_seen(scene: Scene, engine: Engine) -> None:
    flows = PrefectFlows(lambda: engine.address)
    foreign = await flows.start(NewRun(FlowType.EVAL, "key", {"experiment": "income"}))
    await flows.close()
    [found] = await scene.runs.all()
    assert (found.id, found.flow, found.experiment) == (foreign.id, "eval_flow", "income")


async def test_cancelled_before_the_engine_had_it_a_run_never_begins(
    tmp_path: Path, engine: Engine
) -> None:
    async with flow_runs(tmp_path, engine) as scene:
        made = await scene.runs.request("train_flow", experiment="income", by="")
        assert (await scene.runs.cancel(made.id)).state is FlowState.CANCELLED
        await scene.runs.tick()
        assert await in_engine(engine) == []
        with pytest.raises(RunRefused, match="it has ended"):
            await scene.runs.cancel(made.id)


async def test_cancelled_while_the_engine_had_it_unsaid_a_run_is_cancelled_there(
    scene: Scene, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await scene.runs.request("train_flow", experiment="income", by="")
    await scene.runs.tick()
    handed = scene.runs.known()[0].run
    assert handed
    engine.enter(handed.id, "RUNNING")
    # As if the engine's answer to the hand-over had not come in time.
    scene.records.write(replace(scene.runs.known()[0], run=None))
    assert (await scene.runs.cancel(made.id)).state is FlowState.CANCELLING
    flows = PrefectFlows(lambda: engine.address)
    assert (await flows.run(handed.id)).state is FlowState.CANCELLING
    engine.enter(handed.id, "RUNNING")
    # The same while the engine did not answer the cancelling either.
    settled = replace(scene.runs.known()[0], run=None, settled=FlowState.CANCELLED)
    scene.records.write(settled)
    monkeypatch.setattr("model_deployment.flows.runs._FRESH", 0.0)
    await scene.runs.all()
    assert (await flows.run(handed.id)).state is FlowState.CANCELLING
    await flows.close()


async def test_the_end_of_a_run_is_told_though_its_reader_waits_no_longer(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model_deployment.flows.runs._PATIENCE", 0.05)
    told = list[str]()
    may_end = asyncio.Event()

    async def slowly(record: Record) -> None:
        await may_end.wait()
        told.append(record.id)

    async with flow_runs(tmp_path, engine) as scene:
        flows = PrefectFlows(scene.switch.address)
        runs = FlowRuns(
            flows, scene.switch, scene.records, scene.runs.project,
            scene.runs.data, on_end=slowly,
        )  # fmt: skip
        made = await runs.request("train_flow", experiment="income", by="")
        await runs.tick()
        run = runs.known()[0].run
        assert run
        engine.enter(run.id, "FAILED")
        monkeypatch.setattr("model_deployment.flows.runs._FRESH", 0.0)
        await runs.all()
        may_end.set()
        await until(lambda: told == [made.id])
        await flows.close()


async def test_data_are_not_deleted_while_a_run_is_given_them(scene: Scene) -> None:
    deleted = list[str]()
    asked = asyncio.create_task(
        scene.runs.request("train_flow", experiment="income", by="", data=SHA)
    )
    await asyncio.sleep(0)
    with pytest.raises(Conflict, match="runs use it"):
        await delete_unused(scene.runs, deleted.append, SHA)
    assert deleted == []
    await scene.runs.cancel((await asked).id)
    await delete_unused(scene.runs, deleted.append, SHA)
    assert deleted == [SHA]


async def test_a_webhook_that_hangs_holds_up_no_runs(scene: Scene) -> None:
    called = list[Alert]()

    async def hang(alert: Alert) -> None:
        called.append(alert)
        await asyncio.Event().wait()

    news = RunNews(scene.records, hang)
    telling = asyncio.create_task(news.run())
    async with asyncio.timeout(5):
        for id in "ab":
            await news.ended(record(id, FlowState.FAILED))
    await until(lambda: [one.details["run"] for one in called] == ["a"])
    telling.cancel()


async def test_a_running_run_is_cancelling_and_a_waiting_one_cancelled(
    scene: Scene, engine: Engine
) -> None:
    first = await scene.runs.request("train_flow", experiment="income", by="")
    second = await scene.runs.request("train_flow", experiment="income", by="")
    await scene.runs.tick()
    run = (await scene.runs.find(first.id)).run
    assert run
    engine.enter(run.id, "RUNNING")
    assert (await scene.runs.cancel(first.id)).state is FlowState.CANCELLING
    assert (await scene.runs.cancel(second.id)).state is FlowState.CANCELLED
    assert [one.id for one in scene.ended] == [second.id]


async def test_run_again_has_the_same_parameters(scene: Scene) -> None:
    made = await scene.runs.request(
        "train_flow", experiment="income", by="ann", data=SHA, parameters={"trials": 3}
    )
    again = await scene.runs.retry(made.id, "bob")
    assert (again.parameters, again.by, again.again) == (made.parameters, "bob", made.id)
    with pytest.raises(UnknownRun):
        await scene.runs.retry("nothing", "bob")


async def test_run_again_has_the_original_data_though_there_are_newer_ones(tmp_path: Path) -> None:
    async with flow_runs(tmp_path, None) as before:
        made = await before.runs.request("train_flow", experiment="income", by="")
        assert made.parameters["data"] == "original"
        earlier = replace(made, id="earlier", parameters={"experiment": "income"})
        before.records.write(earlier)
    async with flow_runs(tmp_path, None, newest=SHA) as scene:
        for id in (made.id, "earlier"):
            again = await scene.runs.retry(id, "")
            assert again.parameters["data"] == "original"


async def test_the_newest_data_are_chosen_when_a_run_is_asked_for(tmp_path: Path) -> None:
    async with flow_runs(tmp_path, None, newest=SHA) as scene:
        made = await scene.runs.request("train_flow", experiment="income", by="")
        assert made.parameters["data"] == SHA
        with pytest.raises(InvalidRequest, match="no such version is kept"):
            await scene.runs.request("train_flow", experiment="income", by="", data="cd" * 32)


async def test_a_service_that_is_broken_is_unavailable(scene: Scene, engine: Engine) -> None:
    made = await scene.runs.request("train_flow", experiment="income", by="")
    await scene.runs.tick()
    run = (await scene.runs.find(made.id)).run
    assert run
    engine.enter(run.id, "RUNNING")
    await scene.runs.tick()
    scene.switch.at = None
    with pytest.raises(FlowsUnavailable):
        await scene.runs.logs(made.id, 0, 9)
    with pytest.raises(FlowsUnavailable):
        await scene.runs.cancel(made.id)
    assert (await scene.runs.find(made.id)).state is FlowState.RUNNING


async def test_an_id_that_cannot_name_a_file_is_no_record(
    scene: Scene, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = record("x").run
    assert sound
    strange = replace(sound, id="../../x")

    async def runs(self: PrefectFlows, query: RunQuery) -> list[FlowRun]:
        return [strange]

    monkeypatch.setattr(PrefectFlows, "runs", runs)
    assert await scene.runs.all() == []


@pytest.mark.parametrize("answer", [{"detail": "another program"}, [{"id": "x"}], "text", None, 7])
async def test_an_answer_that_is_not_prefects_is_told(
    scene: Scene, engine: Engine, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    await scene.runs.request("train_flow", experiment="income", by="")
    await scene.runs.tick()
    assert engine.stub
    monkeypatch.setattr(engine.stub, "answer", lambda *_: answer)
    with pytest.raises(FlowsUnavailable):
        await scene.runs.tick()
    flows = PrefectFlows(lambda: engine.address)
    for call in (flows.runs, flows.tasks, flows.logs, flows.run):
        given: Any = RunQuery() if call == flows.runs else "r" if call == flows.run else ["r"]
        with pytest.raises(FlowsUnavailable, match="is it Prefect 3"):
            await call(given)
    await flows.close()


async def test_why_a_request_waits_is_told(tmp_path: Path) -> None:
    with stub_engine() as engine:
        async with flow_runs(tmp_path, engine) as scene:
            await scene.runs.request("train_flow", experiment="income", by="")
            with pytest.raises(FlowsUnavailable, match="no deployment 'model-deployment'"):
                await scene.runs.tick()
            assert engine.stub
            engine.stub.broken = 401
            with pytest.raises(FlowsUnavailable, match="MODEL_DEPLOYMENT_FLOWS_API_AUTH"):
                await scene.runs.tick()
            loop = asyncio.create_task(scene.runs.run())
            await until(lambda: "refuses the password" in scene.runs.service[1])
            loop.cancel()


def test_records_survive_damage_and_the_oldest_are_forgotten(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.open()
    for number in range(KEPT + 2):
        records.write(record(f"r{number:04}"))
    (tmp_path / "r0001.json").write_text("{")
    (tmp_path / "left.json.new").write_text("{")
    again = Records(tmp_path)
    again.open()
    assert len(again.all()) == KEPT + 1
    again.forget_oldest()
    assert len(again.all()) == KEPT
    assert again.all()[0].id == f"r{KEPT + 1:04}"
    assert not (tmp_path / "left.json.new").exists()


async def test_runs_are_read_though_the_disk_is_full(
    scene: Scene, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    flows = PrefectFlows(lambda: engine.address)
    await flows.start(NewRun(FlowType.EVAL, "key", {"experiment": "income"}))
    await flows.close()

    def full(*_: object, **__: object) -> None:
        raise DiskFull("cannot save this run")

    monkeypatch.setattr(Records, "write", full)
    assert await scene.runs.all() == []


def test_a_record_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    records = Records(tmp_path / "gone")
    with pytest.raises(Unavailable, match="cannot save this run"):
        records.write(record())


async def test_without_a_project_nothing_runs(tmp_path: Path) -> None:
    async with flow_runs(tmp_path, None) as scene:
        runs = FlowRuns(
            PrefectFlows(lambda: None),
            scene.switch,
            scene.records,
            Project(None),
            scene.runs.data,
            on_end=_nothing,
        )
        with pytest.raises(Exception, match="flows init FOLDER"):
            await runs.request("train_flow", experiment="income", by="")


async def _nothing(_: object) -> None:
    return None
