"""Makes calls that block in threads, and waits for them a limited time: an engine may hang."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from model_deployment.runtime.container.engine import EngineAway

T = TypeVar("T")

#: Calls at the same time, so that an engine that hangs does not cost a thread for each call.
_AT_ONCE = 16


class Calls:
    """In threads of their own: asyncio's pool is for others, and Python waits for it at its exit."""

    def __init__(self) -> None:
        self._room = threading.BoundedSemaphore(_AT_ONCE)

    def begin(self, do: Callable[[], T]) -> "asyncio.Future[T]":
        """Start a call. It goes on if the future is cancelled."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if not self._room.acquire(blocking=False):
            future.set_exception(
                EngineAway(f"the container engine has not answered {_AT_ONCE} calls")
            )
            return future

        def run() -> None:
            try:
                result, error = do(), None
            except BaseException as raised:
                result, error = None, raised
            finally:
                self._room.release()
            try:
                loop.call_soon_threadsafe(_finish, future, result, error)
            except RuntimeError:  # the loop is closed: nobody waits any longer
                return

        threading.Thread(target=run, name="container engine", daemon=True).start()
        return future

    async def make(self, do: Callable[[], T], timeout: float) -> T:
        """The result of a call.

        Raises:
            OSError: that of the call.
            EngineAway: it took longer than ``timeout`` seconds. It goes on.
        """
        future = self.begin(do)
        done, _ = await asyncio.wait({future}, timeout=timeout)
        if not done:
            future.add_done_callback(_retrieve)
            raise EngineAway(f"the container engine has not answered within {timeout:g} s")
        return future.result()


def _finish(future: "asyncio.Future[T]", result: T | None, error: BaseException | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)  # type: ignore[arg-type]


def _retrieve(future: "asyncio.Future[T]") -> None:
    if not future.cancelled():
        future.exception()
