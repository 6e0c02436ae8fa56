"""An engine that refuses, breaks or loses runs, or is another program: what comes of it, and is told."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model_deployment.flows.base import FlowRun, FlowState, FlowsUnavailable, NewRun, RunQuery
from model_deployment.flows.prefect import PrefectFlows
from tests.support.flow_runs import SHA, Scene, flow_runs, record
from tests.support.prefect_engine import Engine, stub_engine
from tests.support.waiting import until


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
