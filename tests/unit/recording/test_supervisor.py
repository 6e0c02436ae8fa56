"""The supervisor of the drain: it adopts its process, starts it again, and leaves none behind."""

import asyncio
import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from model_deployment.recording import supervisor as module
from model_deployment.recording.supervisor import Supervisor
from tests.support import audit
from tests.support.waiting import until

PROGRAM = """
import os, signal
from model_deployment.runtime.companions import read_config
config = read_config()
if config.get("stubborn"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.getpid(), config["text"], flush=True)
if "status" in config:
    os._exit(config["status"])
signal.pause()
"""


class SupervisedProgram:
    """A program, its supervisor, and what it said."""

    def __init__(self, folder: Path) -> None:
        self.instance = f"supervised-{secrets.token_hex(4)}"
        self.log = folder / "log"
        self._folder = folder
        (folder / "supervised.py").write_text(PROGRAM)
        self._made: list[Supervisor] = []

    def supervisor(self, **config: Any) -> Supervisor:
        made = Supervisor(
            "drain", "supervised", {"text": "hello", **config}, instance=self.instance,
            log=self.log, environment={"PYTHONPATH": str(self._folder), "PATH": os.defpath},
        )  # fmt: skip
        self._made.append(made)
        return made

    @property
    def started(self) -> list[list[str]]:
        return [line.split() for line in self.log.read_text().split("\n")[:-1]]

    async def up(self, number: int) -> list[str]:
        await until(lambda: self.log.exists() and len(self.started) == number)
        return self.started[-1]

    @property
    def living(self) -> list[int]:
        return [one.pid for one in audit.marked_processes(self.instance)]

    def close(self) -> None:
        audit.kill_all(self.instance)
        for one in self._made:
            if one._companion is not None:
                one._companion.forget()
        # Those that a supervisor left to the next one are still children of this process.
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SupervisedProgram]:
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(module, "_GRACE", 0.5)
    it = SupervisedProgram(tmp_path)
    yield it
    it.close()


async def stop(task: asyncio.Task[None], supervisor: Supervisor, *, keep: bool = False) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await supervisor.end(keep=keep)


async def test_process_is_started_again_when_it_ends(program: SupervisedProgram) -> None:
    supervisor = program.supervisor()
    task = asyncio.create_task(supervisor.run())
    for number in range(1, 4):
        pid, text = await program.up(number)
        assert (int(pid), text) == (supervisor.pid, "hello")
        os.kill(int(pid), signal.SIGKILL)
    await program.up(4)
    await stop(task, supervisor)
    assert program.living == []
    assert len({pid for pid, _ in program.started}) == 4


async def test_process_that_does_not_end_is_killed(program: SupervisedProgram) -> None:
    supervisor = program.supervisor(stubborn=True)
    task = asyncio.create_task(supervisor.run())
    await program.up(1)
    await stop(task, supervisor)
    assert program.living == []


async def test_process_is_left_to_the_next_controller_which_adopts_it(
    program: SupervisedProgram,
) -> None:
    first = program.supervisor()
    task = asyncio.create_task(first.run())
    pid, _ = await program.up(1)
    await stop(task, first, keep=True)
    assert program.living == [int(pid)]
    second = program.supervisor()
    task = asyncio.create_task(second.run())
    await until(lambda: second.pid == int(pid))
    os.kill(int(pid), signal.SIGKILL)
    await program.up(2)
    await stop(task, second)
    assert len(program.started) == 2
    assert program.living == []


async def test_process_of_another_build_is_replaced(program: SupervisedProgram) -> None:
    first = program.supervisor(stubborn=True)
    task = asyncio.create_task(first.run())
    await program.up(1)
    await stop(task, first, keep=True)
    second = program.supervisor(text="other")
    task = asyncio.create_task(second.run())
    new, text = await program.up(2)
    assert text == "other"
    assert program.living == [int(new)]
    await stop(task, second)


async def test_process_that_cannot_be_started_is_tried_again(
    program: SupervisedProgram, caplog: pytest.LogCaptureFixture
) -> None:
    program.log = program.log.parent / "missing" / "log"
    supervisor = program.supervisor()
    task = asyncio.create_task(supervisor.run())
    await until(lambda: "cannot start supervised: " in caplog.text)
    program.log.parent.mkdir()
    await program.up(1)
    await stop(task, supervisor)


async def test_status_of_a_process_that_ended_is_logged(
    program: SupervisedProgram, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor = program.supervisor(status=3)
    task = asyncio.create_task(supervisor.run())
    await until(lambda: caplog.text.count("supervised ended with status 3") > 1)
    await stop(task, supervisor)
    assert program.living == []


async def test_stop_during_the_start_leaves_no_process(program: SupervisedProgram) -> None:
    for _ in range(5):
        supervisor = program.supervisor()
        task = asyncio.create_task(supervisor.run())
        await until(lambda: supervisor.pid is not None, interval=0.001)  # noqa: B023
        await stop(task, supervisor)
        assert program.living == []
