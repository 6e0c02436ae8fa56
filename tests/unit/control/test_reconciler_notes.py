"""What the proxy has to say of a deployment, among its events."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from model_deployment.control.reconciler import SWEEP
from model_deployment.core.names import ModelKey
from model_deployment.state.database import DatabaseError
from tests.support.simulation import Stage, stage

A, B = (ModelKey(name, 1) for name in "ab")


@pytest.fixture
async def on() -> AsyncIterator[Stage]:
    with stage() as made:
        await made.start()
        yield made
        await made.gone()


async def reasons(on: Stage) -> list[str]:
    return [event.reason for event in await on.deployments.events(A)]


async def test_a_note_is_written_once_and_changes_nothing(on: Stage) -> None:
    await on.ready(A)
    before, on.reconciler._wake = await on.row(A), asyncio.Event()
    on.reconciler.note(A, "turned off")
    assert on.reconciler._wake.is_set()
    await on.tick(), await on.tick()
    assert (await reasons(on))[0] == "turned off"
    assert (await reasons(on)).count("turned off") == 1
    assert await on.row(A) == before


async def test_notes_keep_their_order_and_strangers_have_none(on: Stage) -> None:
    await on.ready(A)
    for key, text in ((A, "one"), (B, "of nobody"), (A, "two")):
        on.reconciler.note(key, text)
    await on.tick()
    assert (await reasons(on))[:2] == ["two", "one"]


async def test_a_note_that_cannot_be_written_is_kept_and_holds_up_nothing(
    on: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await on.ready(A)
    swept = on.reconciler._swept
    write = on.deployments.note

    async def full(*_: object) -> None:
        raise DatabaseError("the disk is full")

    monkeypatch.setattr(on.deployments, "note", full)
    on.reconciler.note(A, "turned off")
    await on.tick(SWEEP)
    assert on.reconciler._swept > swept  # which may be what makes room
    assert on.reconciler.idle > 0
    assert "turned off" not in await reasons(on)
    monkeypatch.setattr(on.deployments, "note", write)
    await on.tick(), await on.tick()
    assert (await reasons(on)).count("turned off") == 1
    assert on.reconciler.idle == 0
