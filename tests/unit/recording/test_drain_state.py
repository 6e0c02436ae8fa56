"""What a drain writes down about itself: whole or not at all, and no reason to stop."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from model_deployment.recording.drain_state import STATE_FILE, DrainState, read_state
from model_deployment.recording.spool import Spool, segments
from tests.support.drains import Store, drain_of, empty, put
from tests.support.waiting import until


async def test_drain_state_is_written_to_a_file(spool: Spool, store: Store) -> None:
    assert read_state(spool.root) == DrainState()
    put(spool, "a")
    drain = drain_of(spool, store)
    await empty(drain)
    (newest,) = segments(spool.root)
    told = json.loads((spool.root / STATE_FILE).read_text())
    offsets = {newest.name: newest.stat().st_size}
    assert told == {"written": 1, "dead": 0, "lost": 0, "error": "", "offsets": offsets}
    assert read_state(spool.root) == drain.state


async def test_drain_error_of_an_earlier_drain_is_cleared(spool: Spool, store: Store) -> None:
    state = {"written": 7, "error": "it is away"}
    (spool.root / STATE_FILE).write_text(json.dumps(state))
    task = asyncio.create_task(drain_of(spool, store).run())
    await until(lambda: read_state(spool.root) == DrainState(written=7))
    task.cancel()


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"odd": 1}', "\xff"])
def test_drain_state_unreadable_is_empty(tmp_path: Path, text: str) -> None:
    (tmp_path / STATE_FILE).write_text(text, encoding="latin-1")
    assert read_state(tmp_path) == DrainState()


async def test_drain_state_unwritable_does_not_stop_the_drain(spool: Spool, store: Store) -> None:
    (spool.root / f"{STATE_FILE}.{os.getpid()}.tmp").mkdir()
    put(spool, "a")
    await empty(drain_of(spool, store))
    assert store.requests == ["a"]


async def test_two_drains_tell_their_states_by_files_of_their_own(
    spool: Spool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was told to end may still be at it when the next one begins."""
    renamed: list[str] = []
    real = Path.rename

    def rename(path: Path, target: Path) -> Path:
        renamed.append(path.name)
        return real(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    for pid in (7, 8):
        monkeypatch.setattr("os.getpid", lambda pid=pid: pid)
        put(spool, f"from {pid}")
        await empty(drain_of(spool, store))
    assert {*renamed} == {f"{STATE_FILE}.7.tmp", f"{STATE_FILE}.8.tmp"}
    assert not [*spool.root.glob("*.tmp")]
