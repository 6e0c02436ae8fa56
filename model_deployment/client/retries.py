"""When a call is sent again: only if the controller cannot have worked on it, or if it changes nothing."""

import random
import socket
import ssl
from enum import Enum, IntEnum

import httpx

#: Seconds before the second attempt; each pause is twice as long as the one before, up to the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
_REFUSALS = (429, 503)


class Resend(IntEnum):
    """What a call may be sent again after."""

    #: No connection could be made: nothing was sent.
    UNSENT = 0
    #: And answers of 429 and 503 with ``Retry-After``, which say that nothing was done.
    REFUSED = 1
    #: And lost connections: the call only reads.
    LOST = 2


class Failure(Enum):
    """What became of an attempt."""

    UNSENT = Resend.UNSENT
    REFUSED = Resend.REFUSED
    LOST = Resend.LOST
    #: Another attempt would end the same way.
    FINAL = 3


def failure_of(error: httpx.HTTPError) -> Failure:
    """What became of an attempt that ended without an answer."""
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return Failure.UNSENT
    if isinstance(error, httpx.ConnectError):
        # Neither a wrong certificate nor an unknown host gets better.
        wrong = any(isinstance(cause, ssl.SSLError | socket.gaierror) for cause in _causes(error))
        return Failure.FINAL if wrong else Failure.UNSENT
    if isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError | httpx.ReadTimeout):
        return Failure.LOST
    return Failure.FINAL


def failure_of_answer(status: int, retry_after: float | None) -> Failure:
    """What became of an attempt that was answered with an error."""
    refused = status in _REFUSALS and retry_after is not None
    return Failure.REFUSED if refused else Failure.FINAL


def pause(
    failure: Failure,
    resend: Resend,
    *,
    attempt: int,
    elapsed: float,
    limit: float,
    retry_after: float | None = None,
) -> float | None:
    """Seconds to wait before the next attempt; None: there is none.

    Args:
        attempt: number of attempts so far, at least 1.
        elapsed: seconds since the first one began.
        limit: seconds after the first one within which the next has to begin.
        retry_after: what the answer asked for.
    """
    if failure is Failure.FINAL or failure.value > resend:
        return None
    if retry_after is not None:
        seconds = max(retry_after, FIRST_PAUSE)
    else:
        longest = min(FIRST_PAUSE * 2.0 ** min(attempt - 1, 10), LONGEST_PAUSE)
        seconds = longest * random.uniform(0.5, 1)  # noqa: S311
    return seconds if elapsed + seconds <= limit else None


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in found:
        found.append(cause)
        cause = cause.__cause__ or cause.__context__
    return found
