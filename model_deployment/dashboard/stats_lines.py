"""How versions do on devices and on servers, as lines of a table with both side by side. Pure."""

from dataclasses import dataclass

from model_deployment.core.names import ModelKey
from model_deployment.dashboard.device_text import plain
from model_deployment.devices.views import PlaceStats, ProjectStats, VersionStats
from model_deployment.rendering import numbers

#: Drift of predictions above which a line is marked, 0 to 1: large, as ``devices/predictions.py`` has it.
_MOVED = 0.25
#: Classes of which the shares are shown.
_CLASSES = 4


@dataclass(frozen=True, slots=True)
class StatsLine:
    """A version: each figure has its text for devices and for the server."""

    key: ModelKey
    running: int
    figures: tuple[tuple[str, str, str], ...]
    drift: str
    reason: str
    #: Predictions on devices are far from those on the server.
    moved: bool
    #: Of the last degradation report of the server's deployment; None without one.
    verdict: str | None
    #: There was more than is read at once: the figures are those of the newest part.
    sampled: bool


def stats_lines(stats: ProjectStats) -> list[StatsLine]:
    """A line for each version, in the order of the statistics."""
    return [_line(one) for one in stats.versions]


def _line(version: VersionStats) -> StatsLine:
    devices, server = _figures(version.devices), _figures(version.server)
    return StatsLine(
        version.key,
        version.running,
        tuple((name, text, server[name]) for name, text in devices.items()),
        numbers.NONE if version.drift is None else f"{version.drift:.2f}",
        plain(version.drift_reason, 200),
        version.drift is not None and version.drift > _MOVED,
        version.server.verdict if version.server else None,
        version.devices.sampled or bool(version.server and version.server.sampled),
    )


def _figures(place: PlaceStats | None) -> dict[str, str]:
    """The figures of a place by their names; a dash where it was not deployed."""
    if place is None:
        return dict.fromkeys(_figures(PlaceStats()), numbers.NONE)
    errors = sum(place.errors.values())
    kinds = ", ".join(
        f"{numbers.number(count)} {plain(kind, 40)}"
        for kind, count in place.errors.items()
        if count
    )
    return {
        "requests": numbers.number(place.requests),
        "rows": numbers.number(place.rows),
        "errors": f"{numbers.percent(errors, place.requests + errors)} ({kinds})"
        if errors
        else "0",
        "p50": numbers.milliseconds(place.p50_ms),
        "p95": numbers.milliseconds(place.p95_ms),
        "p99": numbers.milliseconds(place.p99_ms),
        "predictions": _predictions(place),
    }


def _predictions(place: PlaceStats) -> str:
    found = place.predictions
    if not found or not found.get("count"):
        return numbers.NONE
    count = numbers.number(int(found["count"]))
    if shares := found.get("shares"):
        most = sorted(shares.items(), key=lambda one: -one[1])[:_CLASSES]
        return f"{count}: " + ", ".join(
            f"{plain(name, 30)} {numbers.percent(share)}" for name, share in most
        )
    mean = found.get("mean")
    if mean is None:
        return count
    spread = f" ± {numbers.number(found['std'])}" if found.get("std") is not None else ""
    return f"{count}: {numbers.number(mean)}{spread}"
