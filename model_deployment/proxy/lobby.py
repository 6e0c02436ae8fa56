"""Where requests wait for a deployment that is parked, until a launch of it serves them."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from model_deployment.domain import Route, State
from model_deployment.errors import DeployFailed, ModelDeploymentError
from model_deployment.proxy.problems import not_ready
from model_deployment.proxy.upstream import Limits, Room

T = TypeVar("T")


class Seat(Generic[T]):
    """One request that waits."""

    def __init__(self) -> None:
        self.future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def abort(self, why: Exception) -> None:
        """It need not wait any more."""
        if not self.future.done():
            self.future.set_exception(why)


class Lobby(Room, Generic[T]):
    """The requests of one deployment that wait for what serves it."""

    def __init__(self, route: Route, limits: Limits, wake: Callable[[], None]) -> None:
        """Nobody waits yet.

        Args:
            wake: has the deployment started, if it is parked.
        """
        super().__init__(route.key, limits)
        self._route = route
        self._wake = wake
        self._open: T | None = None
        self._seats: set[Seat[T]] = set()

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
        if self._open is None:
            self._wake()

    def turn(self, route: Route, serving: T | None) -> None:
        """Take note of what has become of the deployment, and let go who need not wait any more."""
        self._route, self._open = route, serving
        if serving is not None:
            for seat in self._seats:
                if not seat.future.done():
                    seat.future.set_result(serving)
        elif not route.waits:
            self.refuse(_why(route))
        elif self._seats and route.state is State.PARKED:
            # It was parked while they came.
            self._wake()

    def refuse(self, error: ModelDeploymentError) -> None:
        """Send away all who wait."""
        for seat in self._seats:
            seat.abort(error)

    async def wait(self, seat: Seat[T]) -> T:
        """What serves the deployment, once it does.

        Raises:
            ModelDeploymentError: it does not.
        """
        if self._open is not None:
            return self._open
        if not self._route.waits:
            raise _why(self._route)
        self._seats.add(seat)
        self._wake()
        try:
            async with asyncio.timeout(self.limits.wake_timeout):
                return await seat.future
        except TimeoutError:
            raise not_ready(self._route) from None
        finally:
            self._seats.discard(seat)


def _why(route: Route) -> ModelDeploymentError:
    if route.state is State.FAILED:
        return DeployFailed(f"cannot predict with {route.key}: it does not start: {route.reason}")
    return not_ready(route)
