"""What pages show of runs of flows. Pure."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from model_deployment.flows.base import FlowState
from model_deployment.flows.records import Record
from model_deployment.rendering import numbers

#: Runs that have a line in the chart.
CHARTED = 20
#: The chart is at most so many times as long as its longest run, which counts for a minute at least.
_SPAN, _SHORT = 15, timedelta(minutes=1)
#: Runs that have a line however long ago they were.
_AT_LEAST = 5


@dataclass(frozen=True, slots=True)
class FlowRow:
    """A run, in words."""

    record: Record
    state: str
    #: Prefect's word for the state, where it says more.
    more: str
    message: str
    #: Seconds that it has taken; None: it has not begun.
    seconds: float | None
    #: Parameters but the experiment, as ``name=value``.
    given: Sequence[str]

    @property
    def took(self) -> str:
        """How long it took, or has taken so far."""
        if self.seconds is None:
            return numbers.NONE
        if self.seconds < 60:
            return f"{self.seconds:.1f} s" if self.seconds < 10 else f"{self.seconds:.0f} s"
        minutes, seconds = divmod(round(self.seconds), 60)
        return f"{minutes} min {seconds} s" if minutes < 60 else numbers.duration(self.seconds)

    @property
    def active(self) -> bool:
        return not self.record.state.final


def row(record: Record, now: datetime, message: str) -> FlowRow:
    """A run, as a user may see it.

    Args:
        message: what is said of its state, as far as the user may read it.
    """
    run = record.run
    seconds = None
    if run is not None and run.started is not None:
        seconds = max(0.0, ((run.ended or now) - run.started).total_seconds())
    name = run.state_name if run and record.settled is None else ""
    return FlowRow(
        record=record,
        state=str(record.state),
        more="" if name.lower() == record.state else name,
        message=message,
        seconds=seconds,
        given=[
            f"{key}={_cut(value)}"
            for key, value in record.parameters.items()
            if key != "experiment"
        ],
    )


def runs_chart(records: Iterable[Record], now: datetime) -> str:
    """A line for each run that has begun: JSON that ``gantt.js`` draws."""
    lines: list[dict[str, Any]] = []
    for record in _charted(records, now):
        assert record.run is not None  # noqa: S101
        bars = [
            _bar(record.run.started, record.run.ended, record.state, record.flow, wide=True),
            *(
                _bar(task.started, task.ended, task.state, task.name)
                for task in record.tasks
                if not task.child
            ),
        ]
        label = f"{record.flow} of {record.experiment}"
        lines.append(_line(label, bars, f"/dashboard/flows/runs/{record.id}"))
    return _chart(lines, now)


def _charted(records: Iterable[Record], now: datetime) -> list[Record]:
    """The newest runs that have begun, as far back as the longest of them can still be seen."""
    found: list[Record] = []
    longest, last = _SHORT, None
    for record in records:
        run = record.run
        if run is None or run.started is None or len(found) == CHARTED:
            continue
        end = run.ended or now
        last = last or end
        longest = max(longest, end - run.started)
        if len(found) >= _AT_LEAST and last - run.started > _SPAN * longest:
            break
        found.append(record)
    return found


def tasks_chart(record: Record, now: datetime) -> str:
    """A line for each task of a run; a flow within the run is a wide bar, before its tasks."""
    lines = [
        _line(
            task.name,
            [_bar(task.started, task.ended, task.state, task.name, wide=bool(task.child))],
        )
        for task in record.tasks
        if task.started is not None
    ]
    return _chart(lines, now)


def _chart(lines: Sequence[dict[str, Any]], now: datetime) -> str:
    # Only where it is needed: else the chart would be a new one with each look.
    goes_on = any(bar["end"] is None for line in lines for bar in line["bars"])
    return json.dumps({"now": now.timestamp() if goes_on else None, "lines": lines})


def _line(label: str, bars: Sequence[dict[str, Any] | None], href: str = "") -> dict[str, Any]:
    return {"label": label, "href": href, "bars": [one for one in bars if one is not None]}


def _bar(
    start: datetime | None, end: datetime | None, state: FlowState, text: str, *, wide: bool = False
) -> dict[str, Any] | None:
    """Times are seconds since 1970; an end of None is now."""
    if start is None:
        return None
    until = end.timestamp() if end else None
    return {
        "start": start.timestamp(), "end": until, "state": str(state), "text": text, "wide": wide,
    }  # fmt: skip


def _cut(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 16 else f"{text[:12]}…"
