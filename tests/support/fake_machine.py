"""An in-memory machine, which outlives controllers.

Its processes, ports and clock stay while controllers come and go.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from pathlib import Path

from model_deployment.core.domain import Deployment, Launch, LaunchSpec
from model_deployment.core.merging import Finding
from model_deployment.core.names import ModelKey
from model_deployment.runtime.base import OnExit

SIGTERM, SIGKILL = 15, 9
#: Memory of a process.
EACH = 10


class Life(StrEnum):
    """How a process is."""

    LOADING = "loading"  # alive, does not listen yet
    HEALTHY = "healthy"  # listens and answers
    WEDGED = "wedged"  # listens and answers nothing
    DEAD = "dead"


@dataclass
class Process:
    """One process group. ``stubborn`` ones ignore SIGTERM."""

    spec: LaunchSpec
    pid: int
    life: Life = Life.LOADING
    stubborn: bool = False
    #: By SIGSTOP, and for long enough.
    stopped: bool = False
    code: int | None = None
    signals: list[int] = field(default_factory=list)

    @property
    def launch_id(self) -> str:
        """The launch it was started for."""
        return self.spec.launch_id

    @property
    def key(self) -> ModelKey:
        """The deployment it was started for."""
        return self.spec.key

    @property
    def port(self) -> int | None:
        """The port where it listens, once it does; None where that is a socket of its own."""
        return None if self.spec.address.path else self.spec.address.port

    @property
    def alive(self) -> bool:
        """Whether it holds a pid."""
        return self.life is not Life.DEAD

    @property
    def listens(self) -> bool:
        """Whether it holds its port."""
        return self.life in (Life.HEALTHY, Life.WEDGED)


class FakeMachine:
    """What is there besides the controller."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.boots = 1
        self.processes: dict[str, Process] = {}
        #: Ports that programs of others listen on, and what those are called.
        self.strangers: dict[int, str] = {}
        #: Whether runtimes can hold ports, and those that are held, which outlives controllers.
        self.holding = False
        #: What starts launches is on its way.
        self.warming = False
        self.held: set[int] = set()
        #: Of which each process takes ``EACH``.
        self.memory = 1000 * EACH
        #: Raised by the next starts.
        self.start_error: OSError | None = None
        #: Raised by the next preparations.
        self.prepare_error: Exception | None = None
        #: Held up until this is set, if there is one.
        self.prepare_gate: asyncio.Event | None = None
        self.preparing: list[ModelKey] = []
        #: How predictions of rows together and apart differ, or what comes of asking.
        self.difference: str | Exception = ""
        self.compare_gate: asyncio.Event | None = None
        #: Launches whose predictions were compared.
        self.compared: list[str | None] = []
        #: The last lines of logs, by launch.
        self.words: dict[str, str] = {}
        #: What was kept when the rest was tidied away, each time; and the error of the next times.
        self.kept: list[set[str]] = []
        self.tidy_error: OSError | None = None
        #: Whether processes become healthy on their own as time goes by.
        self.prompt = False
        self.on_exit: OnExit = lambda: None
        self.on_signal: Callable[[Process], None] = lambda process: None
        self._pids = count(100)

    @property
    def boot(self) -> str:
        """The boot id."""
        return f"boot-{self.boots}"

    @property
    def live(self) -> list[Process]:
        """Every process that lives, oldest first."""
        return [process for process in self.processes.values() if process.alive]

    def free(self) -> int:
        """Memory that nobody takes."""
        return self.memory - EACH * len(self.live)

    def clock(self) -> float:
        """The monotonic clock."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        if self.prompt:
            for process in self.live:
                self.load(process)

    def load(self, process: Process) -> None:
        """Have a loading process begin to listen, or die of a port that is taken."""
        if process.life is not Life.LOADING:
            return
        port = process.port
        if port is not None and self.holder(port) and port not in self.held:
            self.end(process, 1)
        else:
            process.life = Life.HEALTHY

    def wedge(self, process: Process) -> None:
        """Have a process listen and answer nothing."""
        if process.life is Life.HEALTHY:
            process.life = Life.WEDGED

    def end(self, process: Process, code: int) -> None:
        """End a process."""
        process.life, process.code = Life.DEAD, code
        self.on_exit()

    def squat(self, port: int) -> None:
        """Have a program of somebody else listen on a port, if it is free."""
        if not self.holder(port):
            self.strangers[port] = f"squatter on {port}"

    def holder(self, port: int) -> str | None:
        """Who listens on a port."""
        for process in self.live:
            if process.listens and process.port == port:
                return f"launch {process.launch_id}"
        return "a program that holds it" if port in self.held else self.strangers.get(port)

    def spawn(self, spec: LaunchSpec) -> Process:
        """A new process, loading."""
        if self.start_error is not None:
            raise self.start_error
        process = Process(spec, next(self._pids))
        self.processes[spec.launch_id] = process
        return process

    def signal(self, process: Process, number: int) -> None:
        """Send a signal."""
        self.on_signal(process)
        process.signals.append(number)
        if process.alive and (number == SIGKILL or not (process.stubborn or process.stopped)):
            self.end(process, -number)

    def reboot(self) -> None:
        """No process survives, and the monotonic clock starts anew."""
        self.boots += 1
        self.now = 5.0
        self.processes.clear()
        self.held.clear()

    def heal(self) -> None:
        """Nothing is in the way any more; what has gone wrong already stays so."""
        self.strangers.clear()
        self.memory = 1000 * EACH
        self.start_error = self.prepare_error = None
        self.prompt = True

    async def prepare(self, row: Deployment, launch: Launch) -> Path:
        """The local artifacts of a launch."""
        self.preparing.append(row.key)
        try:
            if self.prepare_gate is not None:
                await self.prepare_gate.wait()
            if self.prepare_error is not None:
                raise self.prepare_error
        finally:
            self.preparing.remove(row.key)
        return Path("/artifacts") / launch.artifact

    async def compare(self, row: Deployment, launch: Launch) -> Finding:
        """Whether predictions together and apart are alike."""
        self.compared.append(launch.launch_id)
        if self.compare_gate is not None:
            await self.compare_gate.wait()
        if isinstance(self.difference, Exception):
            raise self.difference
        return Finding(not self.difference, self.difference or "it was compared")
