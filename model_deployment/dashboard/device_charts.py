"""Charts of what a device served, by the minute, from the metrics that it sent."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from model_deployment.core.devices import Device
from model_deployment.dashboard.charts import Chart, first_minute, latest, traffic
from model_deployment.metrics.service import added_up

#: Minutes of each window that can be chosen, and the one that is chosen at first.
WINDOWS = {"1h": 60, "6h": 360, "24h": 1440}
WINDOW = "6h"

#: What a device counted in a span of time, as it is stored: the minute, and ``requests``, ``rows``,
#: ``errors`` and ``latencies`` as in ``docs/reference/device-protocol.md``.
ReadTraffic = Callable[
    [Device, datetime, datetime], Awaitable[Sequence[tuple[datetime, Mapping[str, Any]]]]
]


async def charts(read: ReadTraffic, device: Device, window: str) -> list[Chart]:
    """Requests and latencies; nothing if it has served nothing in the window.

    Raises:
        StoreUnavailable: the document store does not answer.
    """
    now = datetime.now(UTC)
    whole = latest(WINDOWS[window], now, None)
    counted = await read(device, whole.since, whole.until)
    if not counted:
        return []
    # A day of minutes takes tens of milliseconds: not on the event loop.
    return await asyncio.to_thread(_drawn, counted, WINDOWS[window], now)


def _drawn(
    counted: Sequence[tuple[datetime, Mapping[str, Any]]], minutes: int, now: datetime
) -> list[Chart]:
    whole = latest(minutes, now, None)
    known = [(at, _as_served(found)) for at, found in counted]
    serving = added_up(known, whole.since, whole.until)
    return traffic(serving, latest(minutes, now, first_minute(serving)))


def _as_served(found: Mapping[str, Any]) -> dict[str, Any]:
    """Counts of a device as those of a server; kinds of errors that only devices have are added up."""
    failed = sum(found["errors"].values())
    return {
        "requests": found["requests"],
        "rows": found["rows"],
        "errors": {"model_failed": failed} if failed else {},
        "latencies": found["latencies"],
        "violations": [],
    }
