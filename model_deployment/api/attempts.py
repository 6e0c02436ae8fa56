"""How often one address may try an enrolment code that is not good. Pure: the clock is passed in."""

from collections import deque
from collections.abc import Callable
from math import ceil

from model_deployment.core.errors import TooManyAttempts

#: Failed attempts of an address within so many seconds.
LIMIT, WITHIN = 10, 60.0
#: Addresses that are remembered: the one that failed longest ago is forgotten first.
_ADDRESSES = 10_000


class Attempts:
    """Counts failed attempts. Good ones count for nothing: a thousand devices may share an address."""

    def __init__(self, now: Callable[[], float]) -> None:
        """``now``: seconds, never going back."""
        self._now = now
        #: Times of the last failures, by address; addresses in the order of their last failure.
        self._failed: dict[str, deque[float]] = {}

    def check(self, address: str) -> None:
        """
        Raises:
            TooManyAttempts: the address has failed too often; it says when to try again.
        """
        times = self._failed.get(address)
        if times is None:
            return
        now = self._now()
        while times and now - times[0] >= WITHIN:
            times.popleft()
        if not times:
            del self._failed[address]
        elif len(times) >= LIMIT:
            wait = ceil(WITHIN - (now - times[0]))
            raise TooManyAttempts(
                f"cannot try another enrolment code: {LIMIT} codes from {address or 'this address'} were "
                f"not good within {WITHIN:g} s; try again in {wait} s",
                retry_after=wait,
            )

    def failed(self, address: str) -> None:
        """A code from the address was not good."""
        times = self._failed.pop(address, None) or deque(maxlen=LIMIT)
        times.append(self._now())
        self._failed[address] = times
        if len(self._failed) > _ADDRESSES:
            del self._failed[next(iter(self._failed))]
