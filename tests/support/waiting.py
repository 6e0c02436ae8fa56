"""Waiting with a deadline, the one way the tests do it: a bare sleep is too short or too long."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")

#: Raised by a predicate whose time has not come: a check that fails, a server that is not there.
#: OSError holds ConnectionError and TimeoutError.
NOT_YET = (AssertionError, OSError)
#: Seconds between the first attempts; later ones take their time, up to the longest pause: what takes
#: ten seconds is not asked for five hundred times, which would keep whoever answers from its work.
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.25
#: Share of the time waited so far that a pause takes.
_PATIENCE = 0.05


class _Wait:
    """The deadline of one wait, and what was seen last."""

    def __init__(self, timeout: float, what: str, predicate: object) -> None:
        self._timeout = timeout
        self._begin = time.monotonic()
        self._end = self._begin + timeout
        self._what = what or getattr(predicate, "__qualname__", repr(predicate))
        self._last = "nothing"
        self._cause: BaseException | None = None

    @property
    def left(self) -> float:
        """Seconds to the deadline."""
        return max(0.0, self._end - time.monotonic())

    def pause(self, interval: float | None) -> float:
        """Seconds to the next attempt, which is not past the deadline."""
        if interval is None:
            waited = time.monotonic() - self._begin
            interval = min(max(FIRST_PAUSE, _PATIENCE * waited), LONGEST_PAUSE)
        return min(interval, self.left)

    def saw(self, value: object, cause: BaseException | None = None) -> None:
        """Note an attempt that was not it; past the deadline it was the last one."""
        self._last, self._cause = repr(value), cause
        if not self.left:
            raise AssertionError(
                f"waited {self._timeout:g} s in vain for {self._what}; last: {self._last}"
            ) from self._cause


@overload
async def until(
    predicate: Callable[[], Awaitable[T | None]],
    *,
    timeout: float = ...,
    interval: float | None = ...,
    what: str = ...,
) -> T: ...
@overload
async def until(
    predicate: Callable[[], T | None],
    *,
    timeout: float = ...,
    interval: float | None = ...,
    what: str = ...,
) -> T: ...
async def until(
    predicate: Callable[[], object],
    *,
    timeout: float = 10.0,
    interval: float | None = None,
    what: str = "",
) -> object:
    """Ask again until the answer is truthy, and return it.

    Args:
        predicate: synchronous or not; exceptions in ``NOT_YET`` count as "no".
        timeout: seconds; an attempt under way at the deadline is cut off.
        interval: seconds between attempts; None: few at first, and more the longer it takes.
        what: what is waited for, for the message.

    Raises:
        AssertionError: the deadline passed; names ``what`` and the last value or exception.
    """
    wait = _Wait(timeout, what, predicate)
    while True:
        try:
            # The last attempt begins at the deadline, and has to have some time as well.
            async with asyncio.timeout(max(wait.left, interval or FIRST_PAUSE)):
                value = predicate()
                if inspect.isawaitable(value):
                    value = await value
        except NOT_YET as error:
            wait.saw(error, error)
        else:
            if value:
                return value
            wait.saw(value)
        await asyncio.sleep(wait.pause(interval))


def until_sync(
    predicate: Callable[[], T | None],
    *,
    timeout: float = 10.0,
    interval: float | None = None,
    what: str = "",
) -> T:
    """:func:`until` for tests without an event loop. An attempt that hangs is not cut off."""
    wait = _Wait(timeout, what, predicate)
    while True:
        try:
            value = predicate()
        except NOT_YET as error:
            wait.saw(error, error)
        else:
            if value:
                return value
            wait.saw(value)
        time.sleep(wait.pause(interval))
