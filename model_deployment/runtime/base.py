"""The contract of a runtime. One contract test file runs against every implementation."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from model_deployment.core.domain import Address, Exit, Handle, LaunchSpec
from model_deployment.core.measures import Memory, WorkerCounts
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options

#: Called, from the event loop, when some launch has probably ended. A hint, never a promise.
OnExit = Callable[[], None]
#: Adds a line to the events of a deployment.
AddEvent = Callable[[ModelKey, str], None]
#: The member of a handle's ``ref``, and of an identity, for the threads of each worker process.
THREADS = "threads"
#: What names a launch to people where it runs, see :meth:`Runtime.identity`.
Identify = Callable[[Handle], Mapping[str, str | int]]


class PartlySeen(OSError):
    """Not every place could be asked for its launches."""

    def __init__(self, why: str, seen: Sequence[Handle]) -> None:
        """``seen`` are the launches of those that could."""
        super().__init__(why)
        self.seen = seen


class StartFailed(OSError):
    """A launch cannot be started, for a reason that lies in what it needs."""

    def __init__(self, why: str, *, permanent: bool) -> None:
        """``permanent``: another try would fail the same way."""
        super().__init__(why)
        self.permanent = permanent


class Runtime(Protocol):
    """Starts launches and reports on them, also on those that an earlier controller started.

    It owns what belongs to where launches run: their addresses, logs, memory and identity. Nothing above a
    runtime may assume that a launch is a child of this process, has a pid, or is on this machine.
    """

    # Before a launch

    async def obstacle(self, options: Options) -> str:
        """Why no such launch can be started now, and what helps: ``why; what helps``. Empty if one can.

        Asked before a deployment is made or changed. Takes a few seconds at most, and raises nothing.
        """

    def needs_port(self, options: Options) -> bool:
        """Whether such a launch listens on a port of the pool."""

    def address(self, launch_id: str, port: int | None) -> Address:
        """Where a launch with this port (None: it needs none) is to listen, and is connected to."""

    def occupant(self, port: int) -> str | None:
        """The foreign program that listens on a port of the pool, in words; None if the port is free.

        Blocking: call it in a thread.
        """

    def warming(self, options: Options, model_path: str = "") -> bool:
        """Whether a start of such a launch has to wait for something that many launches share.

        The warm parent, or the image or the environment of the model in the folder ``model_path``. Where
        there is none, it is begun. ``on_exit`` is called when the wait is over. What went wrong with it is
        told by ``start``.
        """

    def warming_reason(self, options: Options, model_path: str = "") -> str:
        """What is waited for while ``warming``, in words that follow "waiting for", with its progress."""

    # Ports that are held between launches

    def holds(self, port: int) -> bool:
        """Whether connections to a port wait for the next launch there."""

    async def release(self, port: int) -> None:
        """Stop holding a port. Idempotent. A launch that serves it goes on."""

    # A launch

    async def start(self, spec: LaunchSpec) -> Handle:
        """Start a launch. The launch exists when this returns, and may not be ready yet.

        A runtime that can hold ports listens on the address from then on until the port is released, also
        while no process of the launch lives: callers that connect meanwhile wait for the next launch there.

        Raises:
            StartFailed: what it needs (an environment, an image) could not be made.
            OSError: the launch could not be started; nothing of it is left behind.
        """

    async def poll(self, handle: Handle) -> Exit | None:
        """None while the launch runs, else how it ended.

        An unknown launch, or a foreign process that got its identity, is ``Exit("the process is gone")``.
        Where the main process is gone, the rest of the launch is killed first. A launch of which nothing
        can be known now, since its place does not answer, is taken to run.
        """

    async def stop(self, handle: Handle, *, force: bool) -> None:
        """Ask the whole launch to end (SIGTERM), or kill it (``force``, SIGKILL). Idempotent.

        This does not wait: ``poll`` reports the end. The signal goes to every process of the launch, also
        to those that left its process group, and to no other process.

        Raises:
            OSError: it could not be asked now.
        """

    def suspended(self, handle: Handle, options: Options) -> bool:
        """Whether a signal has stopped the launch (SIGSTOP), so that it answers no request.

        True only after calls in a row have found it stopped for a while. Where only some of several worker
        processes are stopped, they are killed, for others to take their places.
        """

    async def listening(self, handle: Handle) -> bool:
        """Whether the launch itself, not a foreign process, listens on its address."""

    async def list(self) -> list[Handle]:
        """Every launch of this instance that has a living process, also from before a restart.

        Raises:
            OSError: not everything could be seen, so nothing may be concluded from absence. What was seen
                is in a :class:`PartlySeen`.
        """

    async def find(self, launch_id: str, options: Options) -> Handle | None:
        """A living launch whose handle could not be written when it was started; None if there is none.

        Raises:
            OSError: it cannot be known now.
        """

    # What people want to know of a launch

    async def memory(self, handles: Sequence[Handle]) -> Mapping[str, Memory]:
        """Memory of launches by their ids, in bytes, without launches that have no process left.

        Raises:
            OSError: it cannot be read now.
        """

    def workers(self, handle: Handle) -> WorkerCounts | None:
        """The workers of a launch; None if there is one only, or the number is unknown."""

    def identity(self, handle: Handle) -> Mapping[str, str | int]:
        """What names the launch to people where it runs: ``pid``, or ``container`` and ``image``.

        With ``threads``, the number that each worker process computes with, where it is known.
        """

    async def update_log(self, launch_id: str) -> None:
        """Have the log file of a launch hold all that the launch has written.

        Nothing is to be done where its processes write to the file themselves. Otherwise what is new is
        fetched and appended.

        Raises:
            OSError: it cannot be fetched now; what was fetched before can be read.
        """

    async def tail(self, launch_id: str, lines: int) -> str:
        """The last lines of a launch's log, also after its end; empty if there is none."""

    async def tidy(self, keep: Iterable[str]) -> None:
        """Remove what ended launches left (logs, copies, images), but of these.

        Raises:
            OSError: something could not be removed.
        """

    async def close(self) -> None:
        """Release what this object holds. The launches go on."""
