"""The times of a series: their order, frequency, gaps and repetitions, and how they join the original."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model_deployment.degradation.analysis.table import Table
from model_deployment.degradation.findings import Finding, Severity, quoted
from model_deployment.rendering.numbers import count, number, percent

#: Rows without which a series has hardly two windows of 30.
LEAST_ROWS = 60
#: Steps after which a distance of two times is a gap.
_GAP = 1.5
#: Share of missing steps that stops a training.
_MANY_MISSING = 0.2
#: Share of a step by which a distance may differ from whole steps: months differ by a tenth.
_OFF = 0.2
#: Rows in a row that a window of 30 values and the 7 values after it need.
_STRETCH = 37
_DAY = 86400.0
_UNITS = ((_DAY * 365, "year"), (_DAY, "day"), (3600.0, "hour"), (60.0, "minute"), (1.0, "second"))
#: Names of steps, by the least and the most seconds.
_NAMED = (
    (_DAY, _DAY, "daily"),
    (7 * _DAY, 7 * _DAY, "weekly"),
    (28 * _DAY, 31 * _DAY, "monthly"),
    (90 * _DAY, 92 * _DAY, "quarterly"),
    (365 * _DAY, 366 * _DAY, "yearly"),
    (3600.0, 3600.0, "hourly"),
)


@dataclass(frozen=True, slots=True)
class Times:
    """The times of the rows of a table."""

    #: Since 1970, in the order of the rows, without unreadable ones; numbers if the column has numbers.
    seconds: NDArray[np.float64]
    rows: int
    #: Whether the column has dates, not numbers.
    dated: bool = True

    @property
    def unreadable(self) -> int:
        return self.rows - len(self.seconds)

    @property
    def distinct(self) -> NDArray[np.float64]:
        return np.unique(self.seconds)

    @property
    def repeated(self) -> int:
        return len(self.seconds) - len(self.distinct)

    @property
    def ordered(self) -> bool:
        return bool((np.diff(self.seconds) >= 0).all())

    @property
    def step(self) -> float | None:
        """The usual distance of two times, in seconds; None with fewer than three times."""
        distinct = self.distinct
        return float(np.median(np.diff(distinct))) if len(distinct) > 2 else None

    @property
    def working_days(self) -> bool:
        """Whether a daily series has no Saturday and no Sunday."""
        # 1 January 1970 was a Thursday.
        weekdays = (np.floor(self.seconds / _DAY) + 3) % 7
        return (
            self.dated
            and self.step == _DAY
            and len(self.seconds) >= 10
            and bool((weekdays < 5).all())
        )

    @property
    def gaps(self) -> tuple[int, int, float]:
        """How many gaps there are, how many steps are missing, and where the longest begins."""
        step, distinct = self.step, self.distinct
        if not step:
            return 0, 0, 0.0
        steps = np.diff(distinct) / step
        if self.working_days:
            days = np.floor(distinct / _DAY).astype("datetime64[D]")
            steps = np.busday_count(days[:-1], days[1:]).astype(float)
        long = steps > _GAP
        if not long.any():
            return 0, 0, 0.0
        missing = int(np.round(steps[long] - 1).sum())
        return int(long.sum()), missing, float(distinct[int(np.argmax(steps))])

    @property
    def uneven(self) -> int:
        """How many distances are no whole numbers of steps."""
        if not self.step:
            return 0
        steps = np.diff(self.distinct) / self.step
        whole = np.maximum(1, np.round(steps))
        return int((np.abs(steps - whole) > _OFF * np.maximum(1, steps)).sum())

    @property
    def longest_stretch(self) -> int:
        """Rows in a row that are one step apart."""
        if not self.step:
            return len(self.distinct)
        breaks = np.flatnonzero(np.diff(self.distinct) / self.step > _GAP)
        return int(np.diff([-1, *breaks, len(self.distinct) - 1]).max())

    @property
    def missing_share(self) -> float:
        """Share of the steps between the first and the last time that have no row."""
        missing = self.gaps[1]
        return missing / (missing + len(self.distinct)) if missing else 0.0

    @property
    def frequency(self) -> str | None:
        step = self.step
        if not step:
            return None
        if not self.dated:
            return f"every {number(step)}"
        named = next((name for low, high, name in _NAMED if low <= step <= high), None)
        if named:
            return "working days" if self.working_days else named
        size, unit = next(((s, u) for s, u in _UNITS if step >= s), (1.0, "second"))
        return f"every {count(round(step / size), unit) if step > size else unit}"

    def name(self, seconds: float) -> str:
        """A time in UTC, without the parts that are zero."""
        if not self.dated:
            return number(float(seconds))
        when = pd.Timestamp(float(seconds), unit="s", tz="UTC")
        if when == when.normalize():
            return f"{when:%Y-%m-%d}"
        return f"{when:%Y-%m-%d %H:%M:%S} UTC"

    def as_dict(self) -> dict[str, Any]:
        known = len(self.seconds) > 0
        gaps, missing, _ = self.gaps
        return {
            "first": self.name(self.seconds.min()) if known else None,
            "last": self.name(self.seconds.max()) if known else None,
            "rows": self.rows,
            "frequency": self.frequency,
            "gaps": gaps,
            "missing_steps": missing,
            "repeated": self.repeated,
            "unreadable": self.unreadable,
            "ordered": self.ordered,
        }


def times_of(table: Table) -> Times | None:
    """The times of a table; None without a column of times."""
    if table.times is None:
        return None
    values = table.times
    if values.dtype.kind not in "bM":
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(np.float64)
        if np.isfinite(numbers).any() and not np.isinf(numbers).any():
            present = numbers[~np.isnan(numbers)]
            if len(present) == values.notna().sum():
                return Times(present, len(values), dated=False)
    if not pd.api.types.is_datetime64_any_dtype(values.dtype):
        values = values.astype(object)
    found = pd.to_datetime(values, errors="coerce", utc=True, format="mixed")
    # Nanoseconds would end in 2262, and 9999-12-31 is a usual way to say "for ever".
    present_times = found[found.notna()].astype("datetime64[us, UTC]")
    return Times(present_times.astype("int64").to_numpy(np.float64) / 1e6, len(values))


def findings(
    name: str, new: Times | None, original: Times | None, is_series: bool
) -> Iterable[Finding]:
    """Findings about times.

    Args:
        is_series: whether the task is a time series: its windows count rows, so that every row needs a
            time, each time has one row, and no step is left out.
    """
    if new is None:
        severity = Severity.ERROR if is_series else Severity.WARNING
        text = f"The new data have no column {quoted(name)} with the times of the rows."
        yield Finding(severity, "no_times", text, name, 8)
        return
    if new.unreadable:
        share = new.unreadable / new.rows
        severity = Severity.ERROR if is_series else Severity.WARNING
        text = f"{number(new.unreadable)} of the times in {quoted(name)} ({percent(share)}) are no times."
        yield Finding(severity, "unreadable_times", text, name, 7)
    if original is not None:
        yield from _joined(name, new, original)
    if is_series:
        yield from _series(name, new, original)


def _joined(name: str, new: Times, original: Times) -> Iterable[Finding]:
    if not len(new.seconds) or not len(original.seconds) or new.dated != original.dated:
        return
    end, before = new.seconds.max(), original.seconds.max()
    if end < before:
        text = (
            f"The new data end at {new.name(end)}, before the original data, which end at "
            f"{original.name(before)}."
        )
        yield Finding(Severity.WARNING, "old_times", text, name, 3)
    hole, step = new.seconds.min() - before, original.step
    if step and hole > 2 * max(step, _DAY if original.working_days else 0):
        text = (
            f"Between the end of the original data, {original.name(before)}, and the new data, "
            f"{new.name(new.seconds.min())}, there are no rows."
        )
        yield Finding(Severity.INFO, "hole_between", text, name, 2)


def _series(name: str, new: Times, original: Times | None) -> Iterable[Finding]:
    if not new.ordered:
        text = f"The rows are not in the order of {quoted(name)}."
        yield Finding(Severity.INFO, "unordered_times", text, name, 1)
    if new.repeated:
        share = new.repeated / len(new.seconds)
        text = (
            f"{number(new.repeated)} rows ({percent(share)}) repeat a time of {quoted(name)}; a series "
            "has one row for each time."
        )
        yield Finding(Severity.ERROR, "repeated_times", text, name, 6)
    if original is not None and new.step and original.step and new.frequency != original.frequency:
        text = f"The series was {original.frequency} and is now {new.frequency}."
        yield Finding(Severity.ERROR, "frequency_changed", text, name, 6)
    if new.uneven:
        text = f"{count(new.uneven, 'distance')} of two times are no whole number of steps."
        yield Finding(Severity.ERROR, "uneven_times", text, name, 5)
        return
    if (rows := new.longest_stretch) < min(_STRETCH, len(new.distinct)):
        text = (
            f"The longest part of the series without a gap has {count(rows, 'row')}; a window and the "
            f"values after it need {_STRETCH}."
        )
        yield Finding(Severity.ERROR, "short_stretches", text, name, 5)
    gaps, missing, longest = new.gaps
    if gaps:
        was = original.missing_share if original is not None else 0.0
        bad = new.missing_share >= max(_MANY_MISSING, 2 * was)
        text = (
            f"The series has {count(gaps, 'gap')}; {count(missing, 'step')} "
            f"({percent(new.missing_share)}) {'is' if missing == 1 else 'are'} missing. The longest gap "
            f"begins at {new.name(longest)}."
        )
        yield Finding(Severity.ERROR if bad else Severity.WARNING, "gaps", text, name, 4)
