"""Requests that wait for a parked or recovering deployment, until one of its launches serves them."""

import asyncio
from collections.abc import Callable, Container
from typing import Generic, TypeVar

from model_deployment.core.domain import State
from model_deployment.core.errors import DeployFailed, ModelDeploymentError, NotReady
from model_deployment.core.hints import with_advice
from model_deployment.core.routes import Route
from model_deployment.proxy.problems import not_reached, not_ready
from model_deployment.proxy.upstream import Budget, Shares

T = TypeVar("T")

#: Seconds that requests may still wait for a model once the controller is told to stop.
_STOP_TIMEOUT = 2.0


class Waiter(Generic[T]):
    def __init__(self, gone: Container[str | None] = ()) -> None:
        """``gone``: launches that have turned out to be gone; any other will do."""
        self.gone = gone
        self.future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def abort(self, why: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(why)


class WakeQueue(Budget, Generic[T]):
    """The waiting requests of one deployment; ``T`` is what serves them."""

    def __init__(self, route: Route, shares: Shares, wake: Callable[[], None]) -> None:
        """``wake``: has the deployment started, if it is parked."""
        super().__init__(route.key, shares, shares.usage.queued, shares.usage.queued_bytes)
        self._route = route
        self._wake = wake
        #: What serves the deployment now; None if nothing does.
        self.serving: T | None = None
        self._waiters: set[Waiter[T]] = set()
        self._stopping = False
        self._first_start = False

    @property
    def waiting(self) -> int:
        return len(self._waiters)

    def begin_reading(self) -> None:
        """Let one more request in, whose body is still to be read.

        Raises:
            TooBusy: as many requests wait as may.
        """
        self.take_place()
        super().begin_reading()
        self._wake_if_parked()

    def end_reading(self) -> None:
        super().end_reading()
        self.leave_place()

    @property
    def stopped(self) -> bool:
        """Whether there is nothing left to wait for."""
        return self._route.state is State.STOPPED

    @property
    def timeout(self) -> float:
        """Seconds that a request which arrives now may wait."""
        if self._stopping:
            return _STOP_TIMEOUT
        starts = self._first_start or self._route.options.idle_timeout > 0
        return self.limits.wake_timeout if starts else self.limits.recovery_timeout

    def stop_waiting(self) -> None:
        """The controller stops: fail all requests that are not served within 2 s."""
        self._stopping = True
        why = NotReady(
            f"cannot predict with {self.key}: it is {self._route.state}, and the controller is stopping",
            retry_after=5,
        )
        asyncio.get_running_loop().call_later(_STOP_TIMEOUT, self.fail_all, why)

    def _wake_if_parked(self) -> None:
        if self._route.state is State.PARKED:
            self._wake()

    def update(self, route: Route, serving: T | None, *, first_start: bool = False) -> None:
        """Adopt the deployment's new state, and release the requests that need not wait longer.

        Args:
            first_start: whether requests may wait until it is ready for the first time.
        """
        self._route, self.serving, self._first_start = route, serving, first_start
        if serving is not None:
            for waiter in self._waiters:
                if not waiter.future.done() and _has_other(route, waiter.gone):
                    waiter.future.set_result(serving)
        elif not route.waits:
            self.fail_all(_unavailable(route))
        elif self._waiters:
            self._wake_if_parked()  # it may have been parked while they arrived

    def fail_all(self, error: ModelDeploymentError) -> None:
        for waiter in self._waiters:
            waiter.abort(error)

    async def wait(self, waiter: Waiter[T], until: float) -> T:
        """What serves the deployment, once something does.

        Args:
            until: the time of the event loop at which the wait ends.

        Raises:
            ModelDeploymentError: nothing serves it.
        """
        if self.serving is not None and _has_other(self._route, waiter.gone):
            return self.serving
        if self.serving is None and not self._route.waits:
            raise _unavailable(self._route)
        self._waiters.add(waiter)
        self._wake_if_parked()
        try:
            async with asyncio.timeout_at(until):
                return await waiter.future
        except TimeoutError:
            gone = self.serving is not None
            raise (not_reached(self.key) if gone else not_ready(self._route)) from None
        finally:
            self._waiters.discard(waiter)


def _has_other(route: Route, gone: Container[str | None]) -> bool:
    """Whether requests can be sent to a launch that is not gone."""
    return any(one.address is not None and one.launch_id not in gone for one in route.targets)


def _unavailable(route: Route) -> ModelDeploymentError:
    if route.state is State.FAILED:
        text = f"cannot predict with {route.key}: it does not start: {route.reason}"
        return DeployFailed(with_advice(text, route.reason))
    return not_ready(route)
