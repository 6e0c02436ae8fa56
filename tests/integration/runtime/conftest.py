"""Gives each test a runtime that forks programs, and clears it away."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from model_deployment.core.options import EnvManager
from model_deployment.runtime.forkserver import ForkSettings, ForkStarter
from model_deployment.runtime.local import LocalRuntime
from model_deployment.runtime.parent_process import ParentProcess
from model_deployment.runtime.parents import Parents
from model_deployment.settings import Settings
from tests.support import children
from tests.support.runtime_bench import Bench, make_forkserver, make_serve_starter
from tests.support.stubs import PROGRAM
from tests.support.waiting import until_sync

PROGRAMS = Path(__file__).with_name("programs")


class ForkBench(Bench):
    """A bench whose parent can be chosen."""

    forks: ForkStarter

    def use(self, program: Path | None = PROGRAM, **parent: object) -> None:
        """Fork this program from such a parent; None: the server of models."""
        terms = ForkSettings(
            instance=self.instance,
            logs=self.logs,
            work=self.work,
            environment=Settings().model_environment,
            request_timeout=60,
            program=str(program or ""),
        )
        chosen: ParentProcess = replace(self.worker, **{"linger": 5.0, **parent})  # type: ignore[arg-type]
        self.forks = ForkStarter(terms, chosen, self.exited.set)
        self.runtime = LocalRuntime(
            instance=self.instance,
            serve=make_serve_starter(self),
            parents=Parents(self.forks),
            logs=self.launch_logs,
            on_exit=self.exited.set,
            add_event=lambda key, text: self.told.append(text),
        )

    async def parent(self) -> int:
        """The pid of the warm parent, which is there."""
        await self.forks.ready()
        return self.forks.parent_pid


@pytest.fixture
async def forks(tmp_path: Path) -> AsyncIterator[ForkBench]:
    """A bench for one test; neither a launch nor a parent outlives it."""
    before = children.children()
    bench = ForkBench(make_forkserver, tmp_path)
    bench.use()
    yield bench
    await bench.close()
    until_sync(lambda: not parents(tmp_path), what="the end of the warm parent")
    children.collect(before)


def parents(root: Path) -> list[int]:
    """Warm parents whose folder lies below this one."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if b"model_deployment.worker" in command and f"{root}/worker".encode() in command:
            found.append(int(entry.name))
    return found


def environment() -> dict[str, str]:
    """What a parent is started with."""
    return Settings().model_environment(EnvManager.LOCAL)
