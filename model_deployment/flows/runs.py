"""Runs of flows as the API, the dashboard and the upload of data ask for them."""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from model_deployment.core.errors import Conflict, ModelDeploymentError
from model_deployment.flow_project import Project
from model_deployment.flows import monitoring_data, parameters, waiting
from model_deployment.flows.base import (
    DEPLOYMENT,
    Flows,
    FlowState,
    FlowsUnavailable,
    LogLine,
    RunQuery,
    RunRefused,
    UnknownRun,
)
from model_deployment.flows.figures import EndCounts, FlowFigures
from model_deployment.flows.kept_data import KeptData
from model_deployment.flows.mirror import Mirror, OnEnd
from model_deployment.flows.records import Record, Records
from model_deployment.flows.run_logs import RunLogs
from model_deployment.flows.service_file import ServiceState
from model_deployment.flows.starter import Keeper

_log = logging.getLogger(__name__)

#: Seconds between looks at the engine: while something runs, and at most when somebody reads.
_LOOK, _FRESH = 2.0, 1.0
#: Seconds between looks while nothing runs.
_IDLE = 30.0
#: Runs that may wait or run.
_WAITING = 100
#: Seconds that a reader waits for newer records.
_PATIENCE = 3.0


class FlowRuns:
    """The service object of runs."""

    def __init__(
        self,
        flows: Flows,
        keeper: Keeper,
        records: Records,
        project: Project,
        data: KeptData,
        *,
        on_end: OnEnd,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._flows = flows
        self._keeper = keeper
        self._records = records
        self.project = project
        self.data = data
        self._ends = EndCounts()

        async def ended(record: Record) -> None:
            self._ends.count(record)
            await on_end(record)

        self._mirror = Mirror(flows, records, ended)
        self._logs = RunLogs(self._mirror, records)
        self._now = now
        self._turn = asyncio.Lock()
        self._wake = asyncio.Event()
        self._looked = -_FRESH
        self._looking: asyncio.Task[None] | None = None
        #: Why the engine cannot be used, though it is said to be there.
        self._trouble = ""

    # -- what callers ask for ---------------------------------------------------------------------

    async def request(
        self,
        flow: str,
        *,
        experiment: str,
        by: str,
        data: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        again: str = "",
    ) -> Record:
        """Have a flow run: the request is on the disk when this returns, and the engine gets it later.

        Args:
            flow: ``data_flow``, ``train_flow``, ``eval_flow``, ``deploy_flow`` or ``full_flow``.
            by: the user's name, empty where there are no users.
            data: SHA-256 of a version of training data, or ``original``; None: the newest, else the
                original data.
            parameters: further ones of the flow, as in ``POST /api/run_flow/{flow_type}``.
            again: id of the run that this one repeats.

        Raises:
            InvalidRequest: no such flow, experiment or parameter, or a value that is not allowed; the
                message says what is.
            NoProject: no project of flows is set.
            Conflict: too many runs wait.
            DiskFull: the request cannot be written.
        """
        async with self.data.turn:
            given = await asyncio.to_thread(
                self._checked, flow, experiment, {"data": data, **(parameters or {})}
            )
            at = self._now()
            record = Record(
                id=f"{at:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}",
                flow=flow,
                experiment=experiment,
                at=at,
                parameters=given,
                by=by,
                again=again,
            )
            if len(self._records.unfinished()) >= _WAITING:
                raise Conflict(
                    f"cannot run {flow}: {_WAITING} runs wait already; cancel some, or look at their "
                    "states to learn why none begins"
                )
            await asyncio.to_thread(self._records.write, record, sync=True)
        self._wake.set()
        return record

    async def find(self, id: str) -> Record:
        """A run by its own id or by the engine's.

        Raises:
            UnknownRun: there is none.
        """
        await self._freshen()
        return self._known(id)

    async def all(self) -> list[Record]:
        """All that are known, newest first."""
        await self._freshen()
        return self._records.all()

    async def logs(self, id: str, offset: int, limit: int, *, all: bool = False) -> list[LogLine]:
        """Lines of the log of a run, oldest first, from the ``offset``-th on.

        Args:
            all: with those that the engine writes of itself.

        Raises:
            UnknownRun: there is none.
            FlowsUnavailable: the run has not ended, and the engine does not answer.
        """
        return await self._logs.lines(self._known(id), offset, limit, all=all)

    async def cancel(self, id: str) -> Record:
        """Cancel a run: at once if nothing of it runs, else its process is asked to end.

        Raises:
            UnknownRun: there is none.
            RunRefused: it has ended.
            FlowsUnavailable: the engine does not answer.
        """
        async with self._turn:
            record = self._known(id)
            if record.run is None:
                # It may have the run without having said so.
                with contextlib.suppress(FlowsUnavailable):
                    await self._refresh()
                    record = self._known(id)
            if record.state.final:
                raise RunRefused(f"cannot cancel run {record.id}: it has ended ({record.state})")
            if record.run is None:
                cancelled = replace(
                    record, settled=FlowState.CANCELLED, reason="cancelled before it began"
                )
            else:
                cancelled = replace(record, run=await self._flows.cancel(record.run.id))
                if cancelled.state.final:
                    await self._refresh()
                    return self._known(record.id)
            await asyncio.to_thread(self._records.write, cancelled, sync=True)
        self._wake.set()
        return cancelled

    async def retry(self, id: str, by: str) -> Record:
        """Request a run again, with the same parameters.

        Raises:
            UnknownRun: there is none.
            InvalidRequest: the project does not allow these parameters any more.
        """
        record = self._known(id)
        return await self.request(
            record.flow,
            experiment=record.experiment,
            by=by,
            parameters=record.repeated,
            again=record.id,
        )

    async def monitoring(self, limit: int) -> dict[str, Any]:
        """The newest runs, and the chart of them."""
        return monitoring_data.chart((await self.all())[:limit], self._now(), self.message)

    async def using(self, sha256: str) -> list[str]:
        """Ids of the runs that have not ended and were given a version of data."""
        return [
            one.id for one in self._records.unfinished() if one.parameters.get("data") == sha256
        ]

    @property
    def service(self) -> tuple[ServiceState, str]:
        """State of the service, and why it cannot be used (empty: nothing is wrong)."""
        state = self._keeper.state
        if state is ServiceState.STARTING:  # what was wrong before may be mended
            return state, ""
        return state, self._keeper.problem or self._trouble

    def message(self, record: Record) -> str:
        """What is said of a run now."""
        return waiting.message(record, self._records.unfinished(), *self.service)

    def figures(self) -> FlowFigures:
        """For metrics."""
        return self._ends.figures(self._records.all(), self._keeper.state)

    def known(self) -> list[Record]:
        """All records as they are, newest first."""
        return self._records.all()

    # -- the loop ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Start the service when it is needed, hand requests over, follow runs; until cancelled."""
        try:
            await self._follow()
        finally:
            if self._looking is not None:
                self._looking.cancel()

    async def _follow(self) -> None:
        while True:
            try:
                await self.tick()
                self._note("")
            except ModelDeploymentError as error:
                self._note(error.detail)
            except Exception:
                _log.exception("cannot follow the runs of flows")
            pause = _LOOK if self._records.unfinished() else _IDLE
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue
            self._wake.clear()

    async def tick(self) -> None:
        """One look: start the service if it is needed, hand requests over, bring the records up to date.

        Raises:
            FlowsUnavailable: the engine does not answer.
            DiskFull: a record cannot be written.
        """
        if not self._records.unfinished():
            return
        await asyncio.to_thread(self._keeper.ensure)
        if self._keeper.address() is None:
            return
        if not await self._flows.ready():
            await self._flows.runs(RunQuery(limit=1))  # says what is wrong
            raise FlowsUnavailable(
                f"cannot run flows: the service of flows has no deployment {DEPLOYMENT!r} of each flow yet"
            )
        async with self._turn:
            trouble = await self._mirror.hand_all_over()
            await self._refresh()
        if trouble is not None:
            raise trouble

    def _note(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            _log.warning("%s", trouble)
        self._trouble = trouble

    async def _freshen(self) -> None:
        """Have records that are not older than a second, if the engine answers."""
        if time.monotonic() - self._looked < _FRESH or self._keeper.address() is None:
            return
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_once())
        # A look goes on when its reader leaves: one that ended halfway could forget to tell of an end.
        await asyncio.wait({self._looking}, timeout=_PATIENCE)

    async def _look_once(self) -> None:
        try:
            async with self._turn:
                if time.monotonic() - self._looked >= _FRESH:
                    await self._refresh()
        except ModelDeploymentError as error:
            _log.info("cannot bring the runs of flows up to date: %s", error)
        except Exception:
            _log.exception("cannot bring the runs of flows up to date")

    async def _refresh(self) -> None:
        try:
            await self._mirror.refresh()
            await asyncio.to_thread(self._records.forget_oldest)
        finally:
            self._looked = time.monotonic()

    def _known(self, id: str) -> Record:
        record = self._records.find(id)
        if record is None:
            raise UnknownRun(
                f"cannot find the run {id[:80]!a}; it may be older than the runs that are kept"
            )
        return record

    def _checked(self, flow: str, experiment: str, given: Mapping[str, Any]) -> dict[str, Any]:
        settings = self.project.settings()
        found = parameters.checked_request(settings, flow, experiment, given, self.data.has)
        if "data" not in found:
            # Now and not when the run begins: the record tells what it was given.
            return {**found, "data": self.data.newest(experiment) or parameters.ORIGINAL}
        return found
