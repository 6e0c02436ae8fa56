"""Fakes of a controller's collaborators over the in-memory machine: the runtime and the prober.

The state database is not among the fakes: the tests run on the real one.
"""

from collections.abc import Iterable, Mapping, Sequence

from model_deployment.control.probes import Target
from model_deployment.core.domain import LOST, Address, Exit, Handle, LaunchSpec
from model_deployment.core.measures import Health, Memory, WorkerCounts
from model_deployment.core.options import Options, StartMethod
from model_deployment.runtime.base import OnExit
from tests.support.crash_points import CrashPoints
from tests.support.fake_machine import SIGKILL, SIGTERM, FakeMachine, Life, Process


class FakeRuntime:
    """A runtime over the machine. It knows how its own children ended, and of others only that."""

    def __init__(
        self, machine: FakeMachine, on_exit: OnExit = lambda: None, steps: CrashPoints | None = None
    ) -> None:
        self._machine = machine
        self._steps = steps or CrashPoints()
        self._children: set[str] = set()
        machine.on_exit = on_exit

    async def obstacle(self, options: Options) -> str:
        """See :class:`~model_deployment.runtime.base.Runtime`."""
        return ""

    def needs_port(self, options: Options) -> bool:
        """See :class:`~model_deployment.runtime.base.Runtime`."""
        return options.start_method is not StartMethod.CONTAINER

    def address(self, launch_id: str, port: int | None) -> Address:
        """See :class:`~model_deployment.runtime.base.Runtime`."""
        if port is None:
            return Address("localhost", 80, f"/sockets/{launch_id}")
        return Address("127.0.0.1", port)

    def occupant(self, port: int) -> str | None:
        """See :class:`~model_deployment.runtime.base.Runtime`."""
        return self._machine.holder(port)

    def warming(self, options: Options, model_path: str = "") -> bool:
        """See :class:`~model_deployment.runtime.base.Runtime`."""
        return self._machine.warming

    def warming_reason(self, options: Options, model_path: str = "") -> str:
        """See :class:`~model_deployment.runtime.base.Runtime`."""
        return "the warm parent, which is importing"

    async def start(self, spec: LaunchSpec) -> Handle:
        """See :class:`~model_deployment.runtime.base.Runtime`."""
        await self._hold(spec.address)
        await self._steps.step("before start")
        process = self._machine.spawn(spec)
        self._children.add(spec.launch_id)
        await self._steps.step("after start")
        return self._handle(process)

    async def poll(self, handle: Handle) -> Exit | None:
        """See :class:`~model_deployment.runtime.base.Runtime`."""
        process = self._find(handle)
        if process is not None and process.alive:
            return None
        if process is None or process.code is None or handle.launch_id not in self._children:
            return LOST
        return Exit(f"the process exited with status {process.code}", process.code)

    async def stop(self, handle: Handle, *, force: bool) -> None:
        """See :class:`~model_deployment.runtime.base.Runtime`."""
        number = SIGKILL if force else SIGTERM
        await self._steps.step(f"before signal {number}")
        process = self._find(handle)
        if process is not None:
            self._machine.signal(process, number)
        await self._steps.step(f"after signal {number}")

    def suspended(self, handle: Handle, options: Options) -> bool:
        """See :class:`~model_deployment.runtime.base.Runtime`."""
        process = self._find(handle)
        return process is not None and process.alive and process.stopped

    async def listening(self, handle: Handle) -> bool:
        """See :class:`~model_deployment.runtime.base.Runtime`."""
        process = self._find(handle)
        return process is not None and process.listens

    async def list(self) -> list[Handle]:
        """See :class:`~model_deployment.runtime.base.Runtime`."""
        return [self._handle(process) for process in self._machine.live]

    async def find(self, launch_id: str, options: Options) -> Handle | None:
        """See :class:`~model_deployment.runtime.base.Runtime`."""
        process = self._machine.processes.get(launch_id)
        return None if process is None or not process.alive else self._handle(process)

    async def memory(self, handles: Sequence[Handle]) -> Mapping[str, Memory]:
        """See :class:`~model_deployment.runtime.base.Runtime`."""
        return {}

    def workers(self, handle: Handle) -> WorkerCounts | None:
        """See :class:`~model_deployment.runtime.base.Runtime`."""
        return None

    def identity(self, handle: Handle) -> Mapping[str, str | int]:
        """See :class:`~model_deployment.runtime.base.Runtime`."""
        return {"pid": handle.ref["pid"]} if "pid" in handle.ref else {}

    async def update_log(self, launch_id: str) -> None:
        """See :class:`~model_deployment.runtime.base.Runtime`."""

    async def tail(self, launch_id: str, lines: int) -> str:
        """See :class:`~model_deployment.runtime.base.Runtime`."""
        return self._machine.words.get(launch_id, "")

    async def tidy(self, keep: Iterable[str]) -> None:
        """See :class:`~model_deployment.runtime.base.Runtime`."""
        self._machine.kept.append({*keep})
        if self._machine.tidy_error is not None:
            raise self._machine.tidy_error

    async def _hold(self, address: Address) -> None:
        held = address.path or address.port in self._machine.held
        if held or not self._machine.holding:
            return
        await self._steps.step("before hold")
        if self._machine.holder(address.port):
            raise OSError(98, "Address already in use")
        self._machine.held.add(address.port)
        await self._steps.step("after hold")

    def holds(self, port: int) -> bool:
        """See :class:`~model_deployment.runtime.base.Runtime`."""
        return port in self._machine.held

    async def release(self, port: int) -> None:
        """See :class:`~model_deployment.runtime.base.Runtime`."""
        if self.holds(port):
            await self._steps.step("before release")
            self._machine.held.discard(port)
            await self._steps.step("after release")

    async def close(self) -> None:
        """See :class:`~model_deployment.runtime.base.Runtime`."""

    def _handle(self, process: Process) -> Handle:
        ref = {"boot": self._machine.boot, "pid": process.pid}
        return Handle(process.launch_id, process.spec.address, ref)

    def _find(self, handle: Handle) -> Process | None:
        if handle.ref.get("boot") != self._machine.boot:
            return None
        return self._machine.processes.get(handle.launch_id)


class FakeProber:
    """One health check of each watched launch whenever its health is asked for.

    As with real ones, nothing is known of a launch at the moment it is first watched.
    """

    def __init__(self, machine: FakeMachine) -> None:
        self._machine = machine
        self._since: dict[str, float] = {}
        self._failures: dict[str, int] = {}

    def watch(self, targets: Iterable[Target]) -> None:
        """See :class:`~model_deployment.control.probes.Prober`."""
        now = self._machine.now
        ids = [target.handle.launch_id for target in targets]
        self._since = {id: self._since.get(id, now) for id in ids}
        self._failures = {id: self._failures.get(id, 0) for id in ids}

    def health(self, launch_id: str) -> Health:
        """See :class:`~model_deployment.control.probes.Prober`."""
        if self._since.get(launch_id, self._machine.now) >= self._machine.now:
            return Health()
        process = self._machine.processes.get(launch_id)
        healthy = process is not None and process.life is Life.HEALTHY
        self._failures[launch_id] = 0 if healthy else self._failures[launch_id] + 1
        return Health(healthy, self._failures[launch_id])
