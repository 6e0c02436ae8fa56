"""The supervisor of the drain: it starts its process again, and leaves none behind."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from model_deployment.recording import supervisor as module
from model_deployment.recording.supervisor import Supervisor
from tests.support.waiting import until

PROGRAM = """
import os, sys, time
line = sys.stdin.readline()
with open({path!r}, "a") as file:
    print(os.getpid(), line.strip(), file=file)
if line.startswith("stubborn"):
    time.sleep(60)
sys.stdin.read()
"""


class SupervisedProgram:
    def __init__(self, folder: Path) -> None:
        self.starts = folder / "starts"
        (folder / "supervised.py").write_text(PROGRAM.format(path=str(self.starts)))

    @property
    def started(self) -> list[list[str]]:
        return [line.split() for line in self.starts.read_text().splitlines()]

    async def up(self, number: int) -> None:
        await until(lambda: self.starts.exists() and len(self.started) == number)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SupervisedProgram:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(module, "_GRACE", 0.5)
    return SupervisedProgram(tmp_path)


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def is_gone(pid: str) -> bool:
    return not Path(f"/proc/{pid}").exists()


def children() -> list[bytes]:
    """The command lines of this process' children."""
    pids = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids]


async def test_a_killed_process_is_started_again_with_the_same_message(
    program: SupervisedProgram,
) -> None:
    task = asyncio.create_task(Supervisor("supervised", "hello").run())
    await program.up(1)
    os.kill(int(program.started[0][0]), signal.SIGKILL)
    await program.up(2)
    await stop(task)
    assert [message for _, message in program.started] == ["hello", "hello"]
    assert all(is_gone(pid) for pid, _ in program.started)


async def test_a_process_that_does_not_end_is_killed(program: SupervisedProgram) -> None:
    task = asyncio.create_task(Supervisor("supervised", "stubborn").run())
    await program.up(1)
    await stop(task)
    assert is_gone(program.started[0][0])


async def test_a_start_that_is_cancelled_leaves_no_process(program: SupervisedProgram) -> None:
    for turns in range(6):
        supervisor = Supervisor("supervised", "stubborn")
        task = asyncio.create_task(supervisor.run())
        for _ in range(turns):
            await asyncio.sleep(0)
        await stop(task)
        assert supervisor.pid is None
    assert not [command for command in children() if b"supervised" in command]
