"""Makes windows of a series: each row has the values of a stretch of time, its target the values after it.

Nothing is filled in: a window that contains a missing value, or a gap in time, is left out.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model_deployment_flows.experiment import UnusableData

Floats = NDArray[np.float64]

#: Share of a time step by which the times of a series may be off their grid: months differ by a tenth.
_OFF = 0.2


def even_series(times: "pd.Series[object]", values: "pd.Series[object]") -> Floats:
    """The values in the order of time, with NaN where a time is missing.

    Raises:
        UnusableData: a time cannot be read, occurs twice, or the times have no common step.
    """
    moments = _moments(times)
    order = np.argsort(moments, kind="stable")
    moments = moments[order]
    numbers: Floats = pd.to_numeric(values, errors="coerce").to_numpy(np.float64)[order]
    numbers[~np.isfinite(numbers)] = np.nan
    differences = np.diff(moments)
    if not len(differences):
        return numbers
    if (differences == 0).any():
        twice = times.iloc[order[int(np.argmin(differences))]]
        raise UnusableData(
            f"cannot make a series of these data: the time {twice} occurs twice; give one row a time, "
            "and each series a table of its own"
        )
    steps = differences / np.median(differences)
    if (np.abs(steps - np.maximum(1, np.round(steps))) > _OFF * np.maximum(1, steps)).any():
        raise UnusableData(
            "cannot make a series of these data: the times are not evenly spaced; bring them to one "
            "step (an hour, a day …) first"
        )
    places = np.concatenate([[0], np.cumsum(np.maximum(1, np.round(steps)).astype(np.int64))])
    if places[-1] > 100 * len(places):
        raise UnusableData(
            "cannot make a series of these data: over 99 % of the times are missing between the first "
            "and the last one; leave out the outliers among the times"
        )
    even: Floats = np.full(places[-1] + 1, np.nan)
    even[places] = numbers
    return even


def windows_of(values: Floats, window: int, horizon: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Windows of ``window`` values, and the ``horizon`` values after each; oldest first.

    Raises:
        UnusableData: there is no stretch of ``window + horizon`` values without a gap.
    """
    length = window + horizon
    if len(values) < length:
        stretches = np.empty((0, length))
    else:
        stretches = np.lib.stride_tricks.sliding_window_view(values, length)
    whole = stretches[~np.isnan(stretches).any(axis=1)]
    if not len(whole):
        raise UnusableData(
            f"cannot make windows of this series: it has no {length} values in a row without a gap "
            f"({window} to predict from, {horizon} to predict); give a longer series"
        )
    return (
        pd.DataFrame(whole[:, :window].copy(), columns=list(value_names(window))),
        pd.DataFrame(whole[:, window:].copy(), columns=[f"step_{n + 1}" for n in range(horizon)]),
    )


def value_names(window: int) -> Sequence[str]:
    """The names of a window's columns, oldest value first."""
    return [f"value_{n + 1}" for n in range(window)]


def longest_stretch(windows: Floats) -> Floats:
    """The longest part of the series that consecutive windows come from."""
    joined = (windows[1:, :-1] == windows[:-1, 1:]).all(axis=1)
    breaks = np.flatnonzero(~joined) + 1
    parts = np.split(np.arange(len(windows)), breaks)
    longest = max(parts, key=len)
    return np.concatenate([windows[longest[0]], windows[longest[1:], -1]])


def season_of(windows: Floats, longest: int) -> int:
    """The shortest lag, from 1 to ``longest``, whose repetition predicts the last values of windows well.

    That is, with an error at most a tenth above the least: a multiple of the season repeats it too.
    """
    lags = range(1, min(longest, windows.shape[1] - 1) + 1)
    errors = [np.abs(windows[:, -1] - windows[:, -1 - lag]).mean() for lag in lags]
    return next(lag for lag, error in zip(lags, errors, strict=True) if error <= 1.1 * min(errors))


def _moments(times: "pd.Series[object]") -> Floats:
    """Times as numbers, of any unit."""
    if pd.api.types.is_numeric_dtype(times) and not times.isna().any():
        return np.asarray(times, np.float64)
    try:
        read = pd.to_datetime(times, utc=True, format="mixed")
    except (ValueError, TypeError) as error:
        raise UnusableData(
            f"cannot read the times of these data: {str(error)[:200]}; write dates as 2026-01-31"
        ) from error
    if read.isna().any():
        raise UnusableData("cannot make a series of these data: a row has no time")
    return np.asarray(read.astype("datetime64[us, UTC]").astype("int64"), np.float64)
