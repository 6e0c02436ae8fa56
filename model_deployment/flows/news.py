"""Tells an operator of runs that have failed, and of the first one that completes afterwards."""

import asyncio
from collections.abc import Awaitable, Callable

from model_deployment.alerts.alert import Alert, AlertKind
from model_deployment.flows.base import FlowState
from model_deployment.flows.records import Record, Records

_BAD = (FlowState.FAILED, FlowState.CRASHED)


class RunNews:
    def __init__(self, records: Records, call: Callable[[Alert], Awaitable[None]]) -> None:
        """``call`` calls the webhook, and raises nothing."""
        self._records = records
        self._call = call
        self._waiting: asyncio.Queue[Alert] = asyncio.Queue()

    async def run(self) -> None:
        """Tell what there is to tell, one after the other, until cancelled."""
        while True:
            await self._call(await self._waiting.get())

    async def ended(self, record: Record) -> None:
        """A run has ended. It is told by :meth:`run`: a slow webhook holds up no runs."""
        alert = alert_of(record, self._before(record))
        if alert is not None:
            self._waiting.put_nowait(alert)

    def _before(self, record: Record) -> Record | None:
        """The run of the same flow and experiment that ended before."""
        for one in self._records.all():
            alike = (one.flow, one.experiment) == (record.flow, record.experiment)
            decided = one.state in (*_BAD, FlowState.COMPLETED)
            if alike and decided and one.id != record.id and one.at <= record.at:
                return one
        return None


def alert_of(record: Record, before: Record | None) -> Alert | None:
    """What an operator is told of a run that has ended; None: nothing."""
    bad = record.state in _BAD
    recovered = record.state is FlowState.COMPLETED and before is not None and before.state in _BAD
    if not (bad or recovered):
        return None
    kind = AlertKind.FLOW_RUN_FAILED if bad else AlertKind.FLOW_RUN_COMPLETED
    what = f"{record.flow} of {record.experiment}"
    summary = f"{what} has {'failed' if bad else 'completed again'}"
    if record.state is FlowState.CRASHED:
        summary = f"{what} has crashed"
    details = {
        "flow": record.flow,
        "experiment": record.experiment,
        "run": record.id,
        "state": str(record.state),
        "place": record.place,
    }
    return Alert(kind, None, summary, record.message[:300] if bad else "", details)
