"""A ``degraded`` verdict may start the full flow: where an experiment allows it, and with new data only."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from model_deployment.core.errors import ModelDeploymentError
from model_deployment.core.events import Note
from model_deployment.core.names import ModelKey
from model_deployment.degradation.wording.verdict_words import Verdict
from model_deployment.flow_project import ExperimentSettings
from model_deployment.flows.base import FlowState, FlowType
from model_deployment.flows.records import Record
from model_deployment.flows.runs import FlowRuns

_log = logging.getLogger(__name__)

#: Who has asked for the runs that verdicts start.
BY = "degraded"


@dataclass(frozen=True, slots=True)
class Situation:
    """What a decision depends on."""

    #: Of the experiment's model, as far as an endpoint or the deployment says.
    serves: bool
    #: When a verdict last started a run of the experiment.
    last: datetime | None
    #: A run of the experiment that has not ended.
    busy: str | None
    #: SHA-256 of the newest version of training data, and of the one the version was trained on.
    newest: str | None
    trained_on: str | None
    #: A run with that version that a verdict has started, and that came to its end.
    tried: str | None = None


def reason_against(experiment: ExperimentSettings, now: datetime, found: Situation) -> str:
    """Why a run must not be started; empty: it may be."""
    if not experiment.retrain_when_degraded:
        return f"retrain_when_degraded of the experiment {experiment.name} is false"
    if not found.serves:
        return f"{experiment.endpoint} serves another version"
    if found.busy is not None:
        return f"run {found.busy} of the experiment {experiment.name} has not ended"
    if found.newest is None:
        return (
            f"no new data: nothing was uploaded for the experiment {experiment.name} "
            "(model-deployment upload-data)"
        )
    if found.newest == found.trained_on:
        return (
            "no new data: the version was trained on the newest version of the training data, "
            f"{found.newest[:12]}…"
        )
    if found.tried is not None:
        return f"no new data: run {found.tried} has tried the newest version of the training data"
    pause = timedelta(seconds=experiment.retrain_cooldown)
    if found.last is not None and now - found.last < pause:
        again = (found.last + pause).astimezone(UTC)
        return f"a verdict started a run less than {pause} ago; the next may start at {again:%F %H:%M} UTC"
    return ""


class Retraining:
    def __init__(
        self,
        runs: FlowRuns,
        *,
        trained_on: Callable[[ModelKey], Awaitable[str | None]],
        champion: Callable[[str], Awaitable[int | None]],
        note: Note,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """
        Args:
            trained_on: SHA-256 of the training data of a version.
            champion: the version that an endpoint serves.
            note: puts something among the events of a deployment.
        """
        self._runs = runs
        self._trained_on = trained_on
        self._champion = champion
        self._note = note
        self._now = now

    async def on_report(self, key: ModelKey, made: Mapping[str, Any]) -> None:
        """Start what a report asks for, or say among the events of the deployment why not."""
        if made["verdict"] != Verdict.DEGRADED or not self._runs.project.is_set:
            return
        try:
            settings = await asyncio.to_thread(self._runs.project.settings)
        except ModelDeploymentError as error:
            self._note(key, f"no retraining: {error.detail}")
            return
        for experiment in settings.experiments.values():
            if experiment.model == key.model and experiment.retrain_when_degraded:
                await self._consider(experiment, key)

    async def _consider(self, experiment: ExperimentSettings, key: ModelKey) -> None:
        try:
            found = await self._situation(experiment, key)
            why = reason_against(experiment, self._now(), found)
            if why:
                self._note(key, f"no retraining though it has degraded: {why}")
                return
            made = await self._runs.request(
                FlowType.FULL, experiment=experiment.name, by=BY, data=found.newest
            )
            text = f"it has degraded, so {made.flow} was started: run {made.id}"
            self._note(key, text, level=logging.INFO)
        except ModelDeploymentError as error:
            self._note(key, f"no retraining though it has degraded: {error.detail}")

    async def _situation(self, experiment: ExperimentSettings, key: ModelKey) -> Situation:
        records = [one for one in self._runs.known() if one.experiment == experiment.name]
        endpoint = experiment.endpoint
        newest = await asyncio.to_thread(self._runs.data.newest, experiment.name)
        return Situation(
            serves=endpoint is None or await self._champion(endpoint) == key.version,
            last=_last_start(records),
            busy=next((one.id for one in records if not one.state.final), None),
            newest=newest,
            trained_on=await self._trained_on(key),
            tried=next((one.id for one in records if _has_tried(one, newest)), None),
        )


def _has_tried(record: Record, data: str | None) -> bool:
    """Whether a verdict has started this run with these data, and nothing stopped it."""
    ended = record.by == BY and record.state is FlowState.COMPLETED
    return ended and data is not None and record.parameters.get("data") == data


def _last_start(records: Sequence[Record]) -> datetime | None:
    return max((one.at for one in records if one.by == BY), default=None)
