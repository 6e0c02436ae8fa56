"""Runs as a chart of bars over time: what Plotly's ``newPlot(div, graph, layout)`` draws. Pure.

Each run has a line: a wide pale bar for the run, narrow bars for its tasks. Plotly has no time zones, so
times in ``graph`` and ``layout`` are UTC and carry none; those in ``flow_info`` are ISO 8601 with ``Z``.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from model_deployment.flows.base import FlowState, TaskRun
from model_deployment.flows.records import Record

#: Colours that stay apart for the colour-blind (Okabe and Ito, 2008).
COLOURS: Mapping[FlowState, str] = {
    FlowState.REQUESTED: "#b9b9b9",
    FlowState.SCHEDULED: "#b9b9b9",
    FlowState.PENDING: "#b9b9b9",
    FlowState.PAUSED: "#f0e442",
    FlowState.RUNNING: "#56b4e9",
    FlowState.CANCELLING: "#e69f00",
    FlowState.CANCELLED: "#e69f00",
    FlowState.COMPLETED: "#009e73",
    FlowState.FAILED: "#d55e00",
    FlowState.CRASHED: "#cc79a7",
}
_RUN, _TASK = 0.8, 0.4


def chart(
    records: Sequence[Record],
    now: datetime,
    message: Callable[[Record], str] = lambda record: record.message,
) -> dict[str, Any]:
    """What is known of runs, and the chart of it.

    Args:
        records: newest first, which is the order of lines from the top.
        message: what is said of the state of a run.
    """
    begun = [one for one in records if one.run is not None and one.run.started is not None]
    return {
        "flow_info": [flow_info(one, now, message(one)) for one in records],
        "graph": [*_traces(begun, now)],
        "layout": _layout(begun, now),
    }


def flow_info(record: Record, now: datetime, message: str) -> dict[str, Any]:
    """One run: names, state, times in UTC, seconds that it has taken, and its tasks."""
    run = record.run
    started, ended = (run.started, run.ended) if run else (None, None)
    return {
        "id": record.id,
        "run_id": run.id if run else None,
        "name": record.flow,
        "run_name": run.name if run else "",
        "experiment": record.experiment,
        "state": str(record.state),
        "state_name": _state_name(record),
        "message": message,
        "requested_at": spelled(record.at),
        "start_time": spelled(started),
        "end_time": spelled(ended),
        "duration": _seconds(started, ended, now),
        "tasks": [task_info(one, now) for one in record.tasks],
    }


def task_info(task: TaskRun, now: datetime) -> dict[str, Any]:
    """One task: name, state, times in UTC, and seconds that it has taken."""
    return {
        "id": task.id,
        "run_id": task.run,
        "name": task.name,
        "state": str(task.state),
        "state_name": task.state_name,
        "message": task.message,
        "attempts": task.attempts,
        "start_time": spelled(task.started),
        "end_time": spelled(task.ended),
        "duration": _seconds(task.started, task.ended, now),
        "after": [*task.after],
        "child": task.child,
    }


def spelled(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC, in milliseconds."""
    if moment is None:
        return None
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _state_name(record: Record) -> str:
    if record.settled is not None or record.run is None:
        return str(record.state).capitalize()
    return record.run.state_name


def _seconds(start: datetime | None, end: datetime | None, now: datetime) -> float | None:
    return None if start is None else round(max(0.0, ((end or now) - start).total_seconds()), 3)


def _traces(records: Iterable[Record], now: datetime) -> Iterable[dict[str, Any]]:
    """A trace for each state of runs and of tasks: Plotly's legend then shows and hides a state."""
    bars: defaultdict[tuple[float, FlowState], list[_Bar]] = defaultdict(list)
    for record in records:
        assert record.run is not None  # noqa: S101
        line = _line(record)
        run = record.run
        bars[_RUN, record.state].append((line, run.name, run.started or now, run.ended, record.id))
        for task in record.tasks:
            if task.started is not None:
                bars[_TASK, task.state].append((line, task.name, task.started, task.ended, task.id))
    for (width, state), found in bars.items():
        yield _trace(width, state, found, now)


#: Line, text, start, end, id.
_Bar = tuple[str, str, datetime, datetime | None, str]


def _trace(width: float, state: FlowState, bars: Sequence[_Bar], now: datetime) -> dict[str, Any]:
    of_runs = width == _RUN
    return {
        "type": "bar",
        "orientation": "h",
        "name": f"{'runs' if of_runs else 'tasks'}: {state}",
        "y": [line for line, *_ in bars],
        "base": [_for_plotly(start) for _, _, start, _, _ in bars],
        # Milliseconds, as the lengths of bars on an axis of dates are.
        "x": [round(1000 * (_seconds(start, end, now) or 0.0)) for _, _, start, end, _ in bars],
        "text": [text for _, text, *_ in bars],
        "customdata": [id for *_, id in bars],
        "hovertemplate": "%{text}<br>%{base|%H:%M:%S} UTC<extra>" + state + "</extra>",
        "textposition": "none",
        "width": width,
        "opacity": 0.35 if of_runs else 1.0,
        "marker": {"color": COLOURS[state]},
    }


def _layout(records: Sequence[Record], now: datetime) -> dict[str, Any]:
    return {
        "barmode": "overlay",
        "bargap": 0.2,
        "xaxis": {"type": "date", "title": {"text": "time (UTC)"}},
        "yaxis": {
            "type": "category",
            "categoryorder": "array",
            "categoryarray": [_line(one) for one in records],
            "autorange": "reversed",
            "automargin": True,
        },
        "shapes": [
            {
                "type": "line",
                "xref": "x",
                "yref": "paper",
                "x0": _for_plotly(now),
                "x1": _for_plotly(now),
                "y0": 0,
                "y1": 1,
                "line": {"color": "#888888", "width": 1, "dash": "dot"},
            }
        ]
        if any(not one.state.final for one in records)
        else [],
        "legend": {"orientation": "h"},
    }


def _line(record: Record) -> str:
    name = record.run.name if record.run else record.id
    return f"{record.flow} {record.experiment} · {name}"


def _for_plotly(moment: datetime) -> str:
    text = moment.astimezone(UTC).isoformat(sep=" ", timespec="milliseconds")
    return text.removesuffix("+00:00")
