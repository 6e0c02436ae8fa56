"""How versions do on devices and on the server, side by side: from the document store, in bounded time."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from model_deployment.core.devices import DeviceProject
from model_deployment.core.names import ModelKey
from model_deployment.devices.predictions import difference, summary, values_of
from model_deployment.devices.views import PlaceStats, VersionStats
from model_deployment.documents.base import Collection, Documents, Query
from model_deployment.recording.windows import TrafficWindow

#: Minutes of devices of a version, and captures of a version in each place: the newest ones.
_MINUTES, _CAPTURES = 20_000, 500
#: Predictions of these captures, at most.
_PREDICTIONS = 20_000
#: Seconds for all versions together; what was read until then is shown, and that it is not all.
_PATIENCE = 8.0

#: Served requests of a deployment in a span of time, as ``Monitoring.serving`` answers.
Serving = Callable[[ModelKey, datetime, datetime], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class _Span:
    """Which documents, and until when they are read."""

    project: str
    key: ModelKey
    since: datetime
    until: datetime
    #: On the monotonic clock.
    end: float

    def query(self, collection: Collection, limit: int) -> Query:
        return Query.of(
            collection, self.key, since=self.since, until=self.until, newest_first=True, limit=limit
        )


class DeviceStats:
    """Reads documents of devices and of servers."""

    def __init__(
        self,
        opened: Callable[[], Awaitable[Documents]],
        serving: Serving,
        verdict: Callable[[ModelKey], str | None],
    ) -> None:
        """
        Args:
            opened: the document store.
            verdict: of the last degradation report of a deployment; None without one.
        """
        self._opened = opened
        self._serving = serving
        self._verdict = verdict

    async def measure(
        self,
        project: DeviceProject,
        running: Mapping[ModelKey, int],
        since: datetime,
        until: datetime,
    ) -> list[VersionStats]:
        """Measure versions of a project.

        Args:
            running: number of devices that run each version.

        Raises:
            StoreUnavailable: the document store does not answer.
        """
        documents = await self._opened()
        end = time.monotonic() + _PATIENCE
        return [
            await self._version(documents, _Span(project.name, key, since, until, end), count)
            for key, count in sorted(running.items())
        ]

    async def _version(self, documents: Documents, span: _Span, running: int) -> VersionStats:
        minutes, all_minutes = await _read(documents, span, Collection.DEVICE_TRAFFIC, _MINUTES)
        captures, all_captures = await _read(documents, span, Collection.DEVICE_CAPTURES, _CAPTURES)
        served, _ = await _read(documents, span, Collection.CAPTURES, _CAPTURES)
        total = await self._serving(span.key, span.since, span.until)
        return await asyncio.to_thread(
            _compare,
            span.key,
            running,
            _Found(minutes, captures, all_minutes and all_captures),
            _Found([], served, whole=len(served) < _CAPTURES),
            total["total"],
            self._verdict(span.key),
        )


@dataclass(frozen=True, slots=True)
class _Found:
    """Documents of one place."""

    minutes: Sequence[Mapping[str, Any]]
    captures: Sequence[Mapping[str, Any]]
    #: These are all that there are.
    whole: bool


async def _read(
    documents: Documents, span: _Span, collection: Collection, limit: int
) -> tuple[list[Mapping[str, Any]], bool]:
    """Documents of a collection, newest first, and whether these are all."""
    found: list[Mapping[str, Any]] = []
    read = 0
    async for document in documents.find(span.query(collection, limit)):
        read += 1
        # Two projects may have devices that run the same version.
        if collection is Collection.CAPTURES or document.get("project") == span.project:
            found.append(document)
        if time.monotonic() >= span.end:
            return found, False
    return found, read < limit


def _compare(
    key: ModelKey,
    running: int,
    devices: _Found,
    server: _Found,
    served: Mapping[str, Any],
    verdict: str | None,
) -> VersionStats:
    total = TrafficWindow()
    for minute in devices.minutes:
        total.add(TrafficWindow.from_dict(minute))
    on_devices = _predictions(devices)
    on_server = _predictions(server)
    apart, words = difference(on_devices, on_server)
    return VersionStats(
        key,
        running,
        _place(total.summary(), on_devices, whole=devices.whole),
        _place(served, on_server, whole=server.whole, verdict=verdict)
        if served["requests"] or on_server or verdict
        else None,
        apart,
        words,
    )


def _predictions(found: _Found) -> list[Any]:
    return values_of((one.get("predictions") for one in found.captures), _PREDICTIONS)


def _place(
    counted: Mapping[str, Any], values: Sequence[Any], *, whole: bool, verdict: str | None = None
) -> PlaceStats:
    return PlaceStats(
        requests=counted["requests"],
        rows=counted["rows"],
        errors=counted["errors"],
        p50_ms=counted["p50_ms"],
        p95_ms=counted["p95_ms"],
        p99_ms=counted["p99_ms"],
        predictions=summary(values),
        verdict=verdict,
        sampled=not whole,
    )
