"""The contract of a runtime. One contract test file runs against every implementation."""

from collections.abc import Callable
from typing import Protocol

from model_deployment.core.domain import Address, Exit, Handle, LaunchSpec
from model_deployment.core.options import Options

#: Called, from the event loop, when some launch has probably ended. A hint, never a promise.
OnExit = Callable[[], None]


class Runtime(Protocol):
    """Starts launches and reports on them, also on those that an earlier controller started.

    Nothing above a runtime may assume that a launch is a child of this process, or on this machine.
    """

    def warming(self, options: Options) -> bool:
        """Whether a start of such a launch would have to wait for the warm parent.

        Where there is no warm parent, one is started. ``on_exit`` is called when the wait is over.
        """

    async def release(self, address: Address) -> None:
        """Stop holding an address. Idempotent. A launch that serves it goes on."""

    def holds(self, address: Address) -> bool: ...

    async def start(self, spec: LaunchSpec) -> Handle:
        """Start a launch. The launch exists when this returns, and may not be ready yet.

        A runtime that can hold ports listens on the address from then on until it is released, also while
        no process of the launch lives: callers that connect meanwhile wait for the next launch there.

        Raises:
            OSError: the launch could not be started; nothing of it is left behind.
        """

    async def poll(self, handle: Handle) -> Exit | None:
        """None while the launch runs, else how it ended.

        An unknown launch, or a foreign process that got its pid, is ``Exit("the process is gone")``. Where
        the main process is gone, the rest of the launch is killed first.
        """

    async def stop(self, handle: Handle, *, force: bool) -> None:
        """Ask the whole launch to end (SIGTERM), or kill it (``force``, SIGKILL). Idempotent.

        This does not wait: ``poll`` reports the end. The signal goes to every process of the launch, also
        to those that left its process group, and to no other process.
        """

    def stopped(self, handle: Handle, options: Options) -> bool:
        """Whether a signal has stopped the launch (SIGSTOP), so that it answers no request.

        True only after calls in a row have found it stopped for a while. Where only some of several worker
        processes are stopped, they are killed, for others to take their places.
        """

    async def listening(self, handle: Handle) -> bool:
        """Whether the launch itself, not a foreign process, listens on its address."""

    async def list(self) -> list[Handle]:
        """Every launch of this instance that has a living process, also from before a restart.

        Raises:
            OSError: not everything could be seen, so nothing may be concluded from absence.
        """

    async def close(self) -> None:
        """Release what this object holds. The launches go on."""
