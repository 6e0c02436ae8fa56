"""``asyncio.timeout``, which Python has since 3.11, for older ones."""

from __future__ import annotations

import asyncio
import sys

if sys.version_info >= (3, 11):
    from asyncio import timeout as time_limit
else:

    class time_limit:  # noqa: N801 - it is used as the function is
        """Cancels what runs in it after some seconds, and raises TimeoutError in its place."""

        def __init__(self, seconds: float) -> None:
            self._seconds = seconds
            self._passed = False

        async def __aenter__(self) -> None:
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - it is awaited
            self._task = task
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._end)

        async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
            self._timer.cancel()
            if self._passed and kind is asyncio.CancelledError:
                raise TimeoutError

        def _end(self) -> None:
            self._passed = True
            self._task.cancel()


__all__ = ["time_limit"]
