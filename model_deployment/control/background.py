"""Work that takes longer than a tick: fetching artifacts, and checking row independence.

A tick starts it and reads its outcome; its end wakes the control loop.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TypeVar

from model_deployment.control.collaborators import Collaborators
from model_deployment.core.actions import Artifact, RowIndependence
from model_deployment.core.domain import Deployment, Launch, LaunchState
from model_deployment.core.merging import Finding
from model_deployment.core.names import ModelKey

T = TypeVar("T")


class BackgroundWork:
    """At most one task for each deployment's artifacts, and one for each launch."""

    def __init__(self, world: Collaborators, wake: Callable[[], None]) -> None:
        self._world = world
        self._wake = wake
        #: By deployment and artifacts: a model that was registered anew has others.
        self._preparations: dict[tuple[ModelKey, str], asyncio.Task[Path]] = {}
        #: By launch id.
        self._checks: dict[str, asyncio.Task[Finding]] = {}

    def prepare(self, row: Deployment, launch: Launch) -> None:
        """Start to fetch and verify the artifacts of a launch."""
        task = self._start(lambda: self._world.prepare(row, launch), f"prepare {row.key}")
        self._preparations[row.key, launch.artifact] = task

    def artifact(self, row: Deployment, launch: Launch) -> tuple[Artifact, str]:
        """How far the artifacts of a launch are, and why they could not be fetched."""
        task = self._preparations.get((row.key, launch.artifact))
        if task is None or (task.done() and task.cancelled()):
            return Artifact.MISSING, ""
        if not task.done():
            return Artifact.WORKING, ""
        error = task.exception()
        if error is not None:
            return Artifact.FAILED, str(error) or type(error).__name__
        return Artifact.READY, ""

    def artifact_path(self, row: Deployment, launch: Launch) -> Path:
        """The folder of artifacts that are ready."""
        return self._preparations[row.key, launch.artifact].result()

    def take_artifact(self, row: Deployment, launch: Launch) -> Path:
        """The same, once: the next launch has them verified again."""
        return self._preparations.pop((row.key, launch.artifact)).result()

    def drop_artifact(self, row: Deployment, launch: Launch) -> None:
        """Stop fetching, or forget what was fetched, unless another launch waits for the same.

        A failure is always forgotten: it counts for one launch, and each other one fetches anew.
        """
        failed = self.artifact(row, launch)[0] is Artifact.FAILED
        others = (one for one in row.launches if one.id != launch.id)
        needed = any(
            one.state is LaunchState.PENDING and one.artifact == launch.artifact for one in others
        )
        if needed and not failed:
            return
        if task := self._preparations.pop((row.key, launch.artifact), None):
            task.cancel()

    def check_row_independence(self, row: Deployment, launch: Launch) -> None:
        """Start to compare a launch's predictions of rows together and apart."""
        task = self._start(lambda: self._world.compare(row, launch), f"compare {row.key}")
        self._checks[str(launch.launch_id)] = task

    def row_independence(self, launch_id: str) -> tuple[RowIndependence, str]:
        """What the comparison found, and how that is known or why it is not."""
        task = self._checks.get(launch_id)
        if task is None:
            return RowIndependence.UNTRIED, ""
        if not task.done():
            return RowIndependence.WORKING, ""
        if task.cancelled() or (error := task.exception()):
            why = "cancelled" if task.cancelled() else str(error) or type(error).__name__
            return RowIndependence.FAILED, f"cannot check whether requests may be merged: {why}"
        found = task.result()
        kept = RowIndependence.KEPT if found.independent else RowIndependence.BROKEN
        return kept, found.reason

    def cancel(self, *, except_for: Iterable[Deployment] = ()) -> None:
        """Cancel what no pending and no starting launch of these deployments needs."""
        launches = [(row.key, one) for row in except_for for one in row.launches]
        pending = {(key, one.artifact) for key, one in launches if one.state is LaunchState.PENDING}
        starting = {one.launch_id for _, one in launches if one.state is LaunchState.STARTING}
        for artifact in self._preparations.keys() - pending:
            self._preparations.pop(artifact).cancel()
        for launch_id in self._checks.keys() - starting:
            self._checks.pop(launch_id).cancel()

    def _start(self, work: Callable[[], Awaitable[T]], name: str) -> asyncio.Task[T]:
        async def run() -> T:
            try:
                return await work()
            finally:
                self._wake()

        task = asyncio.create_task(run(), name=name)
        # Retrieved here, so that a failure whose row is gone is not reported at exit.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task
