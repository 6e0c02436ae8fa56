"""Runs that are cancelled: before the engine has them, while it may have them, and while they run."""

from dataclasses import replace
from pathlib import Path

import pytest

from model_deployment.flows.base import FlowState, RunRefused
from model_deployment.flows.prefect import PrefectFlows
from tests.support.flow_runs import Scene, flow_runs, in_engine
from tests.support.prefect_engine import Engine


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
