"""Where requests wait for a deployment that is parked, or comes back, until a launch of it serves them."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from model_deployment.core.domain import Route, State
from model_deployment.core.errors import DeployFailed, ModelDeploymentError, NotReady
from model_deployment.core.hints import with_advice
from model_deployment.proxy.problems import not_reached, not_ready
from model_deployment.proxy.upstream import Budget, UpstreamLimits

T = TypeVar("T")

#: Seconds that requests may wait for a model once the controller is told to stop.
_MOMENT = 2.0


class Waiter(Generic[T]):
    """One request that waits."""

    def __init__(self, but: str | None = None) -> None:
        """For any launch ``but`` this one, which has turned out to be gone."""
        self.but = but
        self.future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def abort(self, why: Exception) -> None:
        """It need not wait any more."""
        if not self.future.done():
            self.future.set_exception(why)


class WakeQueue(Budget, Generic[T]):
    """The requests of one deployment that wait for what serves it."""

    def __init__(self, route: Route, limits: UpstreamLimits, wake: Callable[[], None]) -> None:
        """Nobody waits yet.

        Args:
            wake: has the deployment started, if it is parked.
        """
        super().__init__(route.key, limits)
        self._route = route
        self._wake = wake
        self._open: T | None = None
        self._seats: set[Waiter[T]] = set()
        self._dismissed = False

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._seats)

    def knock(self) -> None:
        """One more comes in.

        Raises:
            TooBusy: as many wait as may.
        """
        self.let_in(self.reading)
        self._wake_if_parked()

    @property
    def over(self) -> bool:
        """Whether there is nothing to wait for any more."""
        return self._route.state is State.STOPPED

    @property
    def patience(self) -> float:
        """Seconds that one who comes now may wait."""
        if self._dismissed:
            return _MOMENT
        parks = self._route.options.idle_timeout > 0
        return self.limits.wake_timeout if parks else self.limits.recovery_timeout

    def dismiss(self) -> None:
        """Send all away who are not served in a moment."""
        self._dismissed = True
        why = NotReady(
            f"cannot predict with {self.key}: it is {self._route.state}, and the controller is stopping",
            retry_after=5,
        )
        asyncio.get_running_loop().call_later(_MOMENT, self.refuse, why)

    def _wake_if_parked(self) -> None:
        if self._route.state is State.PARKED:
            self._wake()

    def turn(self, route: Route, serving: T | None) -> None:
        """Take note of what has become of the deployment, and let go who need not wait any more."""
        self._route, self._open = route, serving
        if serving is not None:
            for seat in self._seats:
                if not seat.future.done() and route.launch_id != seat.but:
                    seat.future.set_result(serving)
        elif not route.waits:
            self.refuse(_why(route))
        elif self._seats:
            self._wake_if_parked()  # perhaps it was while they came

    def refuse(self, error: ModelDeploymentError) -> None:
        """Send away all who wait."""
        for seat in self._seats:
            seat.abort(error)

    async def wait(self, seat: Waiter[T], until: float) -> T:
        """What serves the deployment, once it does.

        Args:
            until: the time of the event loop to wait for it.

        Raises:
            ModelDeploymentError: it does not.
        """
        if self._open is not None and self._route.launch_id != seat.but:
            return self._open
        if self._open is None and not self._route.waits:
            raise _why(self._route)
        self._seats.add(seat)
        self._wake_if_parked()
        try:
            async with asyncio.timeout_at(until):
                return await seat.future
        except TimeoutError:
            known = self._open is not None
            raise (not_reached(self.key) if known else not_ready(self._route)) from None
        finally:
            self._seats.discard(seat)


def _why(route: Route) -> ModelDeploymentError:
    if route.state is State.FAILED:
        text = f"cannot predict with {route.key}: it does not start: {route.reason}"
        return DeployFailed(with_advice(text, route.reason))
    return not_ready(route)
