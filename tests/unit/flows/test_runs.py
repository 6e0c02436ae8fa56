"""Requests of runs, over a stub of Prefect: nothing is lost, and nothing is started twice."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from model_deployment.alerts.alert import Alert
from model_deployment.core.errors import Conflict, InvalidRequest
from model_deployment.flow_project import Project
from model_deployment.flows.base import FlowState, FlowType, NewRun, UnknownRun
from model_deployment.flows.deletion import delete_unused
from model_deployment.flows.news import RunNews
from model_deployment.flows.prefect import PrefectFlows
from model_deployment.flows.records import Record
from model_deployment.flows.runs import FlowRuns
from tests.support.flow_runs import SHA, Scene, flow_runs, in_engine, record
from tests.support.prefect_engine import Engine
from tests.support.waiting import until


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


async def test_runs_that_others_have_started_are_seen(scene: Scene, engine: Engine) -> None:
    flows = PrefectFlows(lambda: engine.address)
    foreign = await flows.start(NewRun(FlowType.EVAL, "key", {"experiment": "income"}))
    await flows.close()
    [found] = await scene.runs.all()
    assert (found.id, found.flow, found.experiment) == (foreign.id, "eval_flow", "income")


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
