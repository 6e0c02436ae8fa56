"""Counts the workers of each launch, and notes an event where one cannot load the model."""

from collections.abc import Callable, Sequence

from model_deployment.core.domain import Deployment, Handle, State, WorkerCounts
from model_deployment.core.names import ModelKey

#: Seconds between two counts.
INTERVAL = 2.0


def serving(row: Deployment, worker_counts: Callable[[Handle], WorkerCounts | None]) -> int | None:
    """How many workers of a deployment serve; None if that is unknown."""
    if row.handle is None or row.state not in (State.STARTING, State.READY, State.STOPPING):
        return 0
    if row.options.workers > 1:
        crew = worker_counts(row.handle)
        return crew.serving if crew else None
    return int(row.state is State.READY)


class MissingWorkers:
    """Notes once for each launch that workers are missing, and once that all of them serve."""

    def __init__(
        self,
        worker_counts: Callable[[Handle], WorkerCounts | None],
        note: Callable[[ModelKey, str], None],
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
        ready = [row for row in rows if row.state is State.READY and row.options.workers > 1]
        self._missing = {
            row.launch_id: self._missing[row.launch_id]
            for row in ready
            if row.launch_id in self._missing
        }
        for row in ready:
            if row.handle is not None and (crew := self._worker_counts(row.handle)) is not None:
                self._count(row.key, row.handle.launch_id, crew)

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
            self._note(key, f"all {crew.workers} workers serve")
