"""Brings what the engine says of runs into the records."""

import asyncio
import contextlib
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from model_deployment.core.errors import ModelDeploymentError
from model_deployment.flows.base import (
    FINAL,
    RESULT,
    Artifact,
    FlowRun,
    Flows,
    FlowState,
    FlowsUnreachable,
    LogLine,
    NewRun,
    RunQuery,
    RunRefused,
    TaskRun,
)
from model_deployment.flows.parameters import flow_type
from model_deployment.flows.records import Record, Records

_log = logging.getLogger(__name__)

#: Newest runs that are looked at, so that runs that others have started are seen.
_NEWEST = 50
#: Lines of a log that are kept when a run has ended: of its begin, and of its end.
_FIRST, _LAST, _PAGE = 1000, 4000, 200
#: Bytes of a result; a larger one is left with the engine.
_LARGEST_RESULT = 100_000

#: Told of each run that has ended.
OnEnd = Callable[[Record], Awaitable[None]]


class Mirror:
    """Hands requests to the engine, and keeps records like the engine's runs. Not for two at once."""

    def __init__(self, flows: Flows, records: Records, on_end: OnEnd) -> None:
        self._flows = flows
        self._records = records
        self._on_end = on_end

    async def hand_all_over(self) -> ModelDeploymentError | None:
        """Hand all requests over; the first failure, which holds up none of the others.

        Raises:
            FlowsUnreachable: the engine does not answer at all.
        """
        first = None
        for record in self._records.unfinished():
            if record.run is None:
                try:
                    await self.hand_over(record)
                except FlowsUnreachable:
                    raise
                except ModelDeploymentError as error:
                    error.detail += f" (run {record.id})"
                    first = first or error
        return first

    async def hand_over(self, record: Record) -> Record:
        """Give the engine a requested run. One that it refuses has failed.

        Raises:
            FlowsUnavailable: the engine does not answer.
            DiskFull: the record cannot be written; the next attempt finds the same run.
        """
        new = NewRun(flow_type(record.flow), record.id, record.parameters, record.tags)
        try:
            run = await self._flows.start(new)
        except RunRefused as error:
            refused = replace(record, settled=FlowState.FAILED, reason=error.detail)
            await asyncio.to_thread(self._records.write, refused)
            await self._on_end(refused)
            return refused
        handed = replace(record, run=run)
        await asyncio.to_thread(self._records.write, handed, sync=True)
        return handed

    async def refresh(self) -> None:
        """Look at the newest runs, and at all that have not ended.

        Raises:
            FlowsUnavailable: the engine does not answer.
            DiskFull: a record cannot be written.
        """
        waiting = {
            one.run.id: one for one in self._records.unfinished() if one.run and not one.settled
        }
        found = {one.id: one for one in await self._flows.runs(RunQuery(limit=_NEWEST))}
        if missed := [*waiting.keys() - found.keys()]:
            more = await self._flows.runs(RunQuery(ids=missed, limit=len(missed), children=True))
            found |= {one.id: one for one in more}
        changed = [one for one in map(self._changed, found.values()) if one is not None]
        await self._cancel_unwanted(changed)
        await self._update(changed)
        for id in waiting.keys() - found.keys():
            await self._lose(waiting[id])

    async def log(self, record: Record, offset: int, limit: int) -> list[LogLine]:
        """Lines of the log of a run that the engine has."""
        return await self._flows.logs(record.run_ids, limit=limit, offset=offset)

    def _changed(self, run: FlowRun) -> Record | None:
        """The record of a run with what is new; None if nothing is, or can be."""
        # By the tag: a controller may have been killed between the engine's answer and the record.
        record = self._records.find(run.id) or self._records.find(run.tag("request") or "")
        if record is None and not self._records.can_name(run.id):
            return None
        if record is None:
            return Record(
                id=run.id,
                flow=run.flow,
                experiment=run.tag("experiment") or str(run.parameters.get("experiment", "")),
                at=run.created,
                parameters=run.parameters,
                by=run.tag("by") or "",
                run=run,
            )
        # The tasks of a run change while the run does not.
        if record.run == run and (run.state.final or run.started is None):
            return None
        return replace(record, run=run)

    async def _cancel_unwanted(self, changed: Sequence[Record]) -> None:
        """A run may have been cancelled here when the engine had it, but had not answered yet."""
        for record in changed:
            run, told = record.run, (*FINAL, FlowState.CANCELLING)
            if record.settled is FlowState.CANCELLED and run and run.state not in told:
                with contextlib.suppress(RunRefused):  # it has ended meanwhile
                    await self._flows.cancel(run.id)

    async def _update(self, changed: Sequence[Record]) -> None:
        if not changed:
            return
        tasks = await self._tasks([one.run.id for one in changed if one.run])
        trouble: ModelDeploymentError | None = None
        for record in changed:
            assert record.run is not None  # noqa: S101
            try:
                await self._keep(replace(record, tasks=tuple(tasks.get(record.run.id, ()))))
            except FlowsUnreachable:
                raise
            except ModelDeploymentError as error:  # it is about this one: the others go on
                error.detail += f" (run {record.id})"
                trouble = trouble or error
        if trouble is not None:
            raise trouble

    async def _keep(self, updated: Record) -> None:
        before = self._records.find(updated.id)
        if updated == before:
            return
        ends = updated.state.final and not (before and before.state.final and before.run)
        if updated.state.final:
            updated = await self._with_remains(updated)
        await asyncio.to_thread(self._records.write, updated)
        if ends:
            await self._announce(updated)

    async def _tasks(self, runs: Sequence[str]) -> dict[str, list[TaskRun]]:
        """The tasks of runs, and behind a flow within a flow the tasks of that one."""
        found = await self._flows.tasks(runs)
        children = [one.child for one in found if one.child]
        inner: dict[str, list[TaskRun]] = {}
        for task in await self._flows.tasks(children) if children else ():
            inner.setdefault(task.run, []).append(task)
        by_run: dict[str, list[TaskRun]] = {}
        for task in found:
            by_run.setdefault(task.run, []).extend([task, *inner.get(task.child or "", ())])
        return by_run

    async def _with_remains(self, record: Record) -> Record:
        """Keep the log of a run that has ended, and add its result."""
        lines = await self._shortened_log(record)
        await asyncio.to_thread(self._records.write_log, record, lines)
        artifacts = await self._flows.artifacts(record.run_ids)
        assert record.run is not None  # noqa: S101
        return replace(record, result=result(artifacts, record.run.id) or record.result)

    async def _shortened_log(self, record: Record) -> list[LogLine]:
        first: list[LogLine] = []
        last: deque[LogLine] = deque(maxlen=_LAST)
        seen = 0
        while True:
            page = await self._flows.logs(record.run_ids, limit=_PAGE, offset=seen)
            fits = _FIRST - len(first)
            first += page[:fits]
            last += page[fits:]
            seen += len(page)
            if len(page) < _PAGE:
                break
        if not (left_out := seen - len(first) - len(last)):
            return [*first, *last]
        told = f"… {left_out} lines are left out: the first {_FIRST} and the last {_LAST} are kept"
        return [*first, LogLine(first[-1].at, "INFO", "", told), *last]

    async def _lose(self, record: Record) -> None:
        reason = "the service of flows does not know this run any more: its database was replaced"
        lost = replace(record, settled=FlowState.CRASHED, reason=reason)
        await asyncio.to_thread(self._records.write, lost)
        await self._announce(lost)

    async def _announce(self, record: Record) -> None:
        fields = {"flow": record.flow, "experiment": record.experiment, "run": record.id}
        _log.info("run %s of %s has ended: %s", record.id, record.flow, record.state, extra=fields)
        try:
            await self._on_end(record)
        except (ModelDeploymentError, OSError) as error:
            _log.error("cannot tell of the end of run %s: %s", record.id, error)


def result(artifacts: Sequence[Artifact], run: str) -> Mapping[str, Any] | None:
    """What a run has left as its result: its own, else the last one of the flows within it."""
    left = [one for one in artifacts if one.key == RESULT]
    own = [one for one in left if one.run == run]
    for one in reversed(own or left):
        data = one.data
        if isinstance(data, str) and len(data) <= _LARGEST_RESULT:
            with contextlib.suppress(ValueError):
                data = json.loads(data)
        if isinstance(data, dict) and len(json.dumps(data)) <= _LARGEST_RESULT:
            return data
    return None
