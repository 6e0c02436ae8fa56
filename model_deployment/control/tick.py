"""What the steps of one pass of the control loop share."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from model_deployment.core.domain import Deployment, LaunchState
from model_deployment.core.names import ModelKey


@dataclass(slots=True)
class Tick:
    """One pass: the rows as far as it has come with them, and what was known when it began."""

    rows: list[Deployment]
    #: Parked deployments that a request waits for.
    wake_requests: frozenset[ModelKey] = frozenset()
    #: Deployments that operators have parked, and the reasons for the events.
    park_requests: Mapping[ModelKey, str] = field(default_factory=dict)
    #: Deployments to park because launches of others found no place in the pass before.
    evicted: frozenset[ModelKey] = frozenset()
    #: The controller is shutting down and takes its models with it.
    closing: bool = False
    #: Launches that found no free port, or no memory, in this pass.
    unplaced: int = 0
    #: Launches that are starting now.
    starting: int = 0

    def __post_init__(self) -> None:
        self.starting = sum(map(_starting, self.rows))

    def update(self, place: int, row: Deployment) -> None:
        """Replace the row at an index."""
        before, self.rows[place] = self.rows[place], row
        if row is not before:
            self.starting += _starting(row) - _starting(before)

    def freed_a_place(self) -> None:
        """Count a port that was given up: one launch less needs the place of another deployment."""
        self.unplaced = max(0, self.unplaced - 1)


class Ticks:
    """Counts ticks, for those who wait until one has obeyed what they wrote."""

    def __init__(self) -> None:
        self._begun = self._ended = 0
        self._changed = asyncio.Event()

    def begin(self) -> None:
        self._begun += 1

    def end(self) -> None:
        self._ended = self._begun
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def next(self, limit: float) -> None:
        """Wait until a tick that begins after this call has ended, for at most ``limit`` seconds."""
        number = self._begun + 1
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                while self._ended < number:
                    await self._changed.wait()


def _starting(row: Deployment) -> int:
    return sum(one.state is LaunchState.STARTING for one in row.launches)
