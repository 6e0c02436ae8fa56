"""What the proxy has to say of a deployment, among its events."""

import asyncio
import logging

import pytest

from model_deployment.control.reconciler import SWEEP
from model_deployment.core.names import ModelKey
from model_deployment.state.database import DatabaseError
from tests.support.simulation import Simulation

A, B = (ModelKey(name, 1) for name in "ab")


async def reasons(sim: Simulation) -> list[str]:
    return [event.reason for event in await sim.deployments.events(A)]


async def test_a_note_is_written_once_and_changes_nothing(sim: Simulation) -> None:
    await sim.ready(A)
    before, sim.reconciler._wake = await sim.row(A), asyncio.Event()
    sim.reconciler.note(A, "turned off")
    assert sim.reconciler._wake.is_set()
    await sim.tick()
    await sim.tick()
    assert (await reasons(sim))[0] == "turned off"
    assert (await reasons(sim)).count("turned off") == 1
    assert await sim.row(A) == before


async def test_notes_keep_their_order_and_strangers_have_none(sim: Simulation) -> None:
    await sim.ready(A)
    for key, text in ((A, "one"), (B, "of nobody"), (A, "two")):
        sim.reconciler.note(key, text)
    await sim.tick()
    assert (await reasons(sim))[:2] == ["two", "one"]


async def test_good_news_are_no_warnings(sim: Simulation, caplog: pytest.LogCaptureFixture) -> None:
    await sim.ready(A)
    caplog.set_level("INFO")
    sim.reconciler.note(A, "its environment was built", logging.INFO)
    sim.reconciler.note(A, "turned off")
    await sim.tick()
    levels = {one.getMessage(): one.levelname for one in caplog.records}
    assert (levels["its environment was built"], levels["turned off"]) == ("INFO", "WARNING")


async def test_a_note_that_cannot_be_written_is_kept_and_holds_up_nothing(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sim.ready(A)
    swept = sim.reconciler._swept
    write = sim.deployments.note

    async def full(*_: object) -> None:
        raise DatabaseError("the disk is full")

    monkeypatch.setattr(sim.deployments, "note", full)
    sim.reconciler.note(A, "turned off")
    await sim.tick(SWEEP)
    assert sim.reconciler._swept > swept  # which may be what makes room
    assert sim.reconciler.idle > 0
    assert "turned off" not in await reasons(sim)
    monkeypatch.setattr(sim.deployments, "note", write)
    await sim.tick()
    await sim.tick()
    assert (await reasons(sim)).count("turned off") == 1
    assert sim.reconciler.idle == 0
