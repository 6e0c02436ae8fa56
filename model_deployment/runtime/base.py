"""The contract of a runtime. One contract test file runs against every implementation."""

from collections.abc import Callable
from typing import Protocol

from model_deployment.core.domain import Endpoint, Exit, Handle, LaunchSpec
from model_deployment.core.options import Options

#: Called, from the event loop, when some launch has probably ended. A hint, never a promise.
OnExit = Callable[[], None]


class Runtime(Protocol):
    """Starts launches and answers for them, also for those an earlier controller started.

    Nothing above a runtime may assume that a launch is a child of this process, or on this machine.
    """

    def warming(self, options: Options) -> bool:
        """Whether what starts such launches is on its way: a start would wait for it.

        It is brought, if need be. ``on_exit`` is called when it has come, or will not.
        """
        ...

    async def release(self, endpoint: Endpoint) -> None:
        """Let go of an endpoint that is held. Idempotent. A launch that serves it goes on."""
        ...

    def holds(self, endpoint: Endpoint) -> bool:
        """Whether an endpoint is held now."""
        ...

    async def start(self, spec: LaunchSpec) -> Handle:
        """Start a launch. It exists when this returns, and is perhaps not ready.

        A runtime that can hold ports listens on the endpoint from then on until it is released, also while
        no process of the launch lives: callers that connect meanwhile wait for the next launch there.

        Raises:
            OSError: it could not be started; nothing of it is left behind.
        """
        ...

    async def poll(self, handle: Handle) -> Exit | None:
        """None while the launch runs, else how it ended.

        An unknown launch, or a stranger that got its pid, is ``Exit("the process is gone")``. A launch
        that lost its main process is finished off here, and reported ended once nothing of it is left.
        """
        ...

    async def stop(self, handle: Handle, *, force: bool) -> None:
        """Ask the whole launch to end (SIGTERM), or end it (``force``, SIGKILL). Idempotent.

        A request only: ``poll`` tells when it is done. Every process of the launch is meant, also
        those that left its process group. No signal goes to a process that is not the launch's.
        """
        ...

    def stopped(self, handle: Handle, options: Options) -> bool:
        """Whether something has stopped the launch (SIGSTOP), so that it answers nobody.

        True only after it was seen so for a while, by calls in a row. Of several worker processes those
        that are stopped are ended, for others to take their places, as long as one is left that is not.
        """
        ...

    async def listening(self, handle: Handle) -> bool:
        """Whether the launch itself listens on its endpoint, rather than a stranger, or nobody."""
        ...

    async def list(self) -> list[Handle]:
        """Every launch of this instance that has a living process, also from before a restart.

        Raises:
            OSError: not everything could be seen, so nothing may be concluded from absence.
        """
        ...

    async def close(self) -> None:
        """Let go of what this object holds. The launches go on."""
        ...
