"""Ends the runs in MLflow whose flow ended without ending them: its process was killed."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from model_deployment.core.errors import ModelDeploymentError
from model_deployment.registry.client import Registry

_log = logging.getLogger(__name__)

#: Tag of runs: the flow run that they belong to.
FLOW_RUN_TAG = "flow_run_id"
#: Seconds between attempts while MLflow is away.
_PAUSE = 60.0


@dataclass(frozen=True, slots=True)
class Dead:
    """A flow that has ended, by its ids at the engine."""

    experiment: str
    flow_runs: Sequence[str]


class DeadRuns:
    """One flow after the other, and again until MLflow answers.

    What is left here when the controller is killed, the next training of the experiment ends.
    """

    def __init__(self, registry: Registry, *, pause: float = _PAUSE) -> None:
        self._registry = registry
        self._pause = pause
        self._waiting: asyncio.Queue[Dead] = asyncio.Queue()

    def add(self, dead: Dead) -> None:
        """Have the runs of a flow ended."""
        self._waiting.put_nowait(dead)

    async def run(self) -> None:
        """End runs until cancelled."""
        while True:
            dead = await self._waiting.get()
            if not await self._end(dead):
                self.add(dead)
                await asyncio.sleep(self._pause)

    async def _end(self, dead: Dead) -> bool:
        try:
            what = f"end the runs of a flow of {dead.experiment} that ended before them"
            await self._registry.ask(what, partial(end_runs, dead))
        except ModelDeploymentError as error:
            _log.warning("%s. It is tried again every %g s", error, self._pause)
            return False
        return True


def end_runs(dead: Dead, client: Any) -> int:
    """Set the runs of a flow, and those within them, to ``KILLED`` unless they have ended.

    A flow that is run again goes on with the run and gives it its own tag, so that it is left alone.

    Returns:
        how many were ended.
    """
    experiment = client.get_experiment_by_name(dead.experiment)
    if experiment is None:
        return 0
    running = partial(_running, client, experiment.experiment_id)
    found = [run for one in dead.flow_runs for run in running(FLOW_RUN_TAG, one)]
    within = [run for one in found for run in running("mlflow.parentRunId", one.info.run_id)]
    for run in within + found:
        client.set_terminated(run.info.run_id, "KILLED")
    return len(within) + len(found)


def _running(client: Any, experiment: str, tag: str, value: str) -> list[Any]:
    wanted = f"attributes.status = 'RUNNING' AND tags.`{tag}` = '{value}'"
    return list(client.search_runs([experiment], wanted, max_results=1000))
