"""Whether one of several targets is worth requests: one that breaks is left out, and tried again. Pure.

As in a circuit breaker: a target that breaks is left out for a pause. Then it gets one request at a time,
until it answers. If it breaks again, the next pause is twice as long. A target that only answers errors of
the server (5xx) is left out too, provided that the other targets answer well meanwhile: else its callers
ask for what the model cannot do.

Times are those of the event loop, in seconds.
"""

from dataclasses import dataclass
from enum import Enum, auto

#: Seconds that a target is left out after it has broken for the first time, and at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
#: Seconds beyond the last pause after which earlier breaks are forgotten.
_FORGIVEN_AFTER = 60.0
#: Errors in a row that a target may answer, while others answer well.
ERRORS_IN_ROW = 5


@dataclass(slots=True)
class Tally:
    """What all targets of one deployment have answered."""

    good: int = 0
    errors: int = 0


class _State(Enum):
    GOOD = auto()
    BROKEN = auto()  # left out until it gives any answer
    FAILING = auto()  # left out until it gives a good answer


class Standing:
    """What one target has done last."""

    __slots__ = ("_broke_at", "_errors", "_marks", "_pause", "_state", "_tally", "_until")

    def __init__(self, tally: Tally) -> None:
        """``tally``: of the deployment, which all its targets have in common."""
        self._tally = tally
        self._state = _State.GOOD
        self._errors = 0
        #: The tally when the first of the errors in a row was answered.
        self._marks = (0, 0)
        self._pause = 0.0
        self._broke_at = self._until = 0.0

    @property
    def left_out_until(self) -> float | None:
        """From when on it gets a request to prove itself; None while it is as good as any other."""
        return None if self._state is _State.GOOD else self._until

    def reset(self) -> None:
        """Another launch answers: nothing counts against it."""
        self._state, self._errors, self._pause = _State.GOOD, 0, 0.0

    def answered(self, status: int, now: float) -> None:
        """It has answered with a status: below 500, it did what it was asked for."""
        tally = self._tally
        if status < 500:
            tally.good += 1
            self._errors, self._state = 0, _State.GOOD
            return
        if not self._errors:
            self._marks = tally.good, tally.errors
        tally.errors += 1
        self._errors += 1
        if self._state is _State.FAILING or self._is_alone_with_errors():
            self._leave_out(_State.FAILING, now)
        else:
            self._state = _State.GOOD

    def broke(self, now: float) -> None:
        """It did not accept a connection, broke it off, or did not answer in time."""
        self._leave_out(_State.BROKEN, now)

    def _leave_out(self, state: _State, now: float) -> None:
        left_out, self._state = self._state is not _State.GOOD, state
        if left_out and now < self._until:
            return  # a call that was under way when the first one broke
        if now - self._broke_at > _FORGIVEN_AFTER + self._pause:
            self._pause = 0.0
        self._pause = min(LONGEST_PAUSE, 2 * self._pause or FIRST_PAUSE)
        self._broke_at, self._until = now, now + self._pause

    def _is_alone_with_errors(self) -> bool:
        """Whether there are many errors in a row, and most answers of other targets since were good."""
        if self._errors < ERRORS_IN_ROW:
            return False
        good = self._tally.good - self._marks[0]
        others_errors = self._tally.errors - self._marks[1] - self._errors
        return good > others_errors
