"""Counts the workers of each launch, and notes an event where one cannot load the model."""

import logging
from collections.abc import Callable, Sequence

from model_deployment.core.domain import Deployment, Handle, Launch, LaunchState
from model_deployment.core.events import Note
from model_deployment.core.measures import WorkerCounts
from model_deployment.core.names import ModelKey

#: Seconds between two counts.
INTERVAL = 2.0

Count = Callable[[Handle], WorkerCounts | None]


def serving(row: Deployment, worker_counts: Count) -> int | None:
    """How many workers of a deployment serve; None if that is unknown."""
    counts = [_serving(one, worker_counts) for one in row.serving]
    return None if None in counts else sum(count or 0 for count in counts)


def _serving(launch: Launch, worker_counts: Count) -> int | None:
    if launch.handle is None:
        return 0
    if launch.options.workers > 1:
        crew = worker_counts(launch.handle)
        return crew.serving if crew else None
    return int(launch.state is LaunchState.READY)


class MissingWorkers:
    """Notes once for each launch that workers are missing, and once that all of them serve."""

    def __init__(
        self,
        worker_counts: Count,
        note: Note,
    ) -> None:
        self._worker_counts = worker_counts
        self._note = note
        self._counted = float("-inf")
        #: Launches that an event was noted for: whether workers are missing still.
        self._missing: dict[str, bool] = {}

    def maybe_count(self, rows: Sequence[Deployment], now: float) -> None:
        """Count the workers of ready deployments, if a count is due."""
        if now - self._counted < INTERVAL:
            return
        self._counted = now
        ready = [
            (row.key, one)
            for row in rows
            for one in row.ready
            if one.options.workers > 1 and one.handle is not None
        ]
        self._missing = {
            launch.launch_id: self._missing[launch.launch_id]
            for _, launch in ready
            if launch.launch_id in self._missing
        }
        for key, launch in ready:
            if launch.handle is not None and (crew := self._worker_counts(launch.handle)):
                self._count(key, launch.handle.launch_id, crew)

    def _count(self, key: ModelKey, launch_id: str, crew: WorkerCounts) -> None:
        missing = crew.serving < crew.workers
        if missing and crew.load_failure and launch_id not in self._missing:
            self._missing[launch_id] = True
            self._note(
                key,
                f"{crew.serving} of {crew.workers} workers serve; another one did not load the model: "
                f"{crew.load_failure}. The controller keeps trying. A model that takes a port, a lock "
                f"or a device for itself can have only one worker",
            )
        elif not missing and self._missing.get(launch_id):
            self._missing[launch_id] = False
            self._note(key, f"all {crew.workers} workers serve", level=logging.INFO)
