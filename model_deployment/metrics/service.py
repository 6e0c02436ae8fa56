"""Use cases of monitoring: metrics and their history, serving figures, and erasure."""

import asyncio
import math
import secrets
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from model_deployment.core.errors import InvalidRequest, ModelDeploymentError
from model_deployment.core.names import ModelKey
from model_deployment.degradation.job import recorded_metrics
from model_deployment.degradation.metric_verdict import MIN_LABELS, SET
from model_deployment.documents.base import CapturedOn, Collection, Query
from model_deployment.documents.owner_view import DocumentSource
from model_deployment.metrics.model_errors import ModelErrors
from model_deployment.metrics.scores import Scores, comparison
from model_deployment.recording.reported_counts import ReportedCounts
from model_deployment.recording.windows import TrafficWindow

#: Entries of the history in one answer.
_HISTORY = 200
#: Minutes of traffic in one answer: a day.
_WINDOWS = 1440

#: What is erased with the captures of a request.
_ERASED_TOO = (
    Collection.LABELS,
    Collection.REFERENCES,
    Collection.ERRORS,
    Collection.DEAD_LETTERS,
)

#: The metrics of a version's run and logged model.
Baseline = Callable[[ModelKey], Awaitable[dict[str, float]]]
#: Writes metrics to the version's run; returns where, in words.
WriteBack = Callable[[ModelKey, Mapping[str, float]], Awaitable[str]]


async def _nothing() -> None:
    pass


class Monitoring:
    def __init__(
        self,
        store: DocumentSource,
        counts: ReportedCounts,
        *,
        baseline: Baseline,
        write_back: WriteBack | None,
        baseline_as_of: Callable[[ModelKey], datetime | None] = lambda key: None,
        refresh: Callable[[], Awaitable[None]] = _nothing,
    ) -> None:
        """Remember the sources.

        Args:
            baseline_as_of: when the last baseline had been fetched, if it was a stored one.
            write_back: None if metrics that are set are not written to MLflow.
            refresh: has the newest counts come in.
        """
        self._store = store
        self.errors = ModelErrors(store)
        self._counts = counts
        self._fetch_baseline = baseline
        self._write_back = write_back
        self._refresh = refresh
        self.baseline_as_of = baseline_as_of

    async def metrics(self, key: ModelKey, since: datetime, until: datetime) -> dict[str, Any]:
        """Baseline, current, history, comparison and serving figures of a deployment.

        Raises:
            StoreUnavailable: the document store does not answer.
        """
        baseline, error = await self.baseline(key)
        as_of = self.baseline_as_of(key)
        history = await self._history(key, _HISTORY)
        return {
            "name": str(key),
            "baseline": baseline,
            "baseline_error": error,
            "baseline_as_of": as_of.isoformat(timespec="seconds") if as_of else None,
            "current": dict(history[0]["metrics"]) if history else {},
            "history": [_public(entry) for entry in history],
            "comparison": await self._compared(key, baseline, history),
            "serving": await self.serving(key, since, until),
        }

    async def set_metrics(
        self,
        key: ModelKey,
        metrics: Mapping[str, float],
        *,
        window: str | None,
        n: int | None,
        note: str | None,
    ) -> dict[str, Any]:
        """Store metrics that were measured elsewhere.

        Raises:
            StoreUnavailable: nothing is stored.
            InvalidRequest: a metric is not a finite number.
        """
        odd = [name for name, value in metrics.items() if not math.isfinite(value)]
        if odd or not metrics:
            raise InvalidRequest(
                f"cannot set the metrics of {key}: "
                + (
                    f"{odd[0]!a} is not a finite number"
                    if odd
                    else "the request contains no metrics"
                )
            )
        entry = {
            **envelope(f"{key}/{time.time_ns()}-{secrets.token_hex(4)}", key),
            "metrics": dict(metrics),
            "window": window,
            "n": n,
            "note": note,
            "source": SET,
        }
        documents = await self._store.opened()
        written = await documents.insert(Collection.METRICS, [entry])
        if written.refused:
            refused = next(iter(written.refused.values()))
            raise InvalidRequest(
                f"cannot set the metrics of {key}: the store refuses them: {refused}"
            )
        baseline, error = await self.baseline(key)
        older = [one for one in await self._history(key, _HISTORY) if one["_id"] != entry["_id"]]
        return {
            **_public(entry),
            "comparison": await self._compared(key, baseline, [entry, *older]),
            "baseline_error": error,
            "written_to": await self._written(key, metrics),
        }

    async def erase(self, key: ModelKey, request_id: str) -> int:
        """Delete everything captured of a request; the number of captures deleted."""
        documents = await self._store.opened()
        # First the erasure is stored, for captures that are still on their way to the store.
        erasure = {**envelope(f"{key}/{request_id}", key), "request_id": request_id}
        await documents.replace(Collection.ERASED, erasure)
        erased = 0
        for captures in (Collection.CAPTURES, Collection.DEVICE_CAPTURES):
            erased += await documents.delete(Query.of(captures, key, request_ids=[request_id]))
        for collection in _ERASED_TOO:
            await documents.delete(Query.of(collection, key, request_ids=[request_id]))
        await self._erase_shadows(key.model, request_id)
        return erased

    async def _erase_shadows(self, model: str, request_id: str) -> None:
        """Delete what candidates, which are other versions, answered to copies of a request."""
        documents = await self._store.opened()
        await documents.delete(Query(Collection.SHADOWS, model, request_ids=[request_id]))
        letters = Query(Collection.DEAD_LETTERS, model, request_ids=[request_id])
        ids = [one["_id"] async for one in documents.find(letters) if "rollout" in one]
        await documents.delete(Query(Collection.DEAD_LETTERS, ids=ids))

    async def compare(self, model: str, versions: Sequence[int]) -> dict[str, Any]:
        """The metrics of several versions side by side."""
        until = datetime.now(UTC) + timedelta(minutes=1)
        found = await asyncio.gather(
            *(
                self.metrics(ModelKey(model, version), until - timedelta(days=1), until)
                for version in versions
            )
        )
        by_version = {str(version): one for version, one in zip(versions, found, strict=True)}
        rows = {
            version: {row["metric"]: row for row in one["comparison"]}
            for version, one in by_version.items()
        }
        return {
            "model": model,
            "versions": list(versions),
            "metrics": {
                name: {
                    version: {part: own.get(name, {}).get(part) for part in ("baseline", "current")}
                    for version, own in rows.items()
                }
                for name in sorted({name for own in rows.values() for name in own})
            },
            "baseline_as_of": {
                version: one["baseline_as_of"] for version, one in by_version.items()
            },
            "serving": {version: one["serving"]["total"] for version, one in by_version.items()},
        }

    async def first_set(self, key: ModelKey) -> dict[str, Any] | None:
        """The oldest metrics that were set, with enough rows to serve as a baseline."""
        documents = await self._store.opened()
        async for found in documents.find(Query.of(Collection.METRICS, key)):
            if found["source"] == SET and (found["n"] or 0) >= MIN_LABELS:
                return _public(found)
        return None

    async def history(self, key: ModelKey, limit: int = _HISTORY) -> list[dict[str, Any]]:
        """Metrics that were set or computed, newest first."""
        return [_public(entry) for entry in await self._history(key, limit)]

    async def serving(self, key: ModelKey, since: datetime, until: datetime) -> dict[str, Any]:
        """Served requests, in total and by the minute."""
        return await self.serving_together([key], since, until)

    async def serving_together(
        self, keys: Sequence[ModelKey], since: datetime, until: datetime
    ) -> dict[str, Any]:
        """Served requests of several deployments, added up."""
        documents = await self._store.opened()
        stored: dict[str, dict[str, Any]] = {}
        for key in keys:
            query = Query.of(Collection.TRAFFIC, key, since=since, until=until)
            stored |= {found["_id"]: found async for found in documents.find(query)}
        await self._refresh()
        for key in keys:
            for window in self._counts.unstored(key):
                for id in window.replaces:
                    stored.pop(id, None)
                if since <= window.document["ts"] < until:
                    stored[window.id] = dict(window.document)
        counts = [(found["ts"], found) for found in stored.values()]
        # A day of minutes takes tens of milliseconds: not on the event loop.
        return await asyncio.to_thread(added_up, counts, since, until)

    async def _history(self, key: ModelKey, limit: int) -> list[dict[str, Any]]:
        documents = await self._store.opened()
        query = Query.of(Collection.METRICS, key, newest_first=True, limit=limit)
        return [found async for found in documents.find(query)]

    async def _compared(
        self, key: ModelKey, baseline: Mapping[str, float], history: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """The newest metrics beside the baseline.

        Args:
            history: newest first.
        """
        if not history:
            return comparison(baseline, None)
        newest, *older = history
        now = recorded_metrics(_public(newest))
        before = [
            recorded_metrics(_public(one)) for one in reversed(older) if one["ts"] <= newest["ts"]
        ]
        if len(history) >= _HISTORY and (first := await self.first_set(key)):
            before.insert(0, recorded_metrics(first))
        # Metrics that were set, and entries of earlier releases, have none of these.
        known = Scores(
            {},
            newest.get("kindest") or {},
            newest.get("standard_errors") or {},
            tuple(newest.get("halves") or ()),
        )
        degraded = await self._degraded(key)
        return comparison(baseline, now, before=before, known=known, degraded=degraded)

    async def _degraded(self, key: ModelKey) -> set[str]:
        """Metrics that the last report calls degraded."""
        documents = await self._store.opened()
        query = Query.of(Collection.REPORTS, key, newest_first=True)
        async for found in documents.find(query):
            if found.get("source", CapturedOn.SERVERS) != CapturedOn.SERVERS:
                continue  # about predictions of devices
            metrics = found["report"].get("metrics", ())
            return {str(one["name"]) for one in metrics if one.get("degraded")}
        return set()

    async def baseline(self, key: ModelKey) -> tuple[dict[str, float], str | None]:
        """The baseline, or an empty one and the reason."""
        try:
            return await self._fetch_baseline(key), None
        except ModelDeploymentError as error:
            return {}, error.detail or error.title

    async def _written(self, key: ModelKey, metrics: Mapping[str, float]) -> str:
        if self._write_back is None:
            return "nowhere: writing metrics back to MLflow is turned off"
        try:
            return await self._write_back(key, metrics)
        except ModelDeploymentError as error:
            return f"nowhere: {error.detail}"


def envelope(id: str, key: ModelKey) -> dict[str, Any]:
    """The first fields of every document."""
    return {"_id": id, "model": key.model, "version": key.version, "ts": datetime.now(UTC)}


def added_up(
    counted: Sequence[tuple[datetime, Mapping[str, Any]]], since: datetime, until: datetime
) -> dict[str, Any]:
    """Add up windows in their stored form, by the minute and in total."""
    windows: defaultdict[datetime, TrafficWindow] = defaultdict(TrafficWindow)
    total = TrafficWindow()
    for moment, stored in counted:
        window = TrafficWindow.from_dict(stored)
        windows[moment].add(window)
        total.add(window)
    return {
        "since": since.isoformat(),
        "until": until.isoformat(),
        "total": total.summary(),
        "windows": [
            {"ts": moment.isoformat(), **windows[moment].summary()}
            for moment in sorted(windows)[-_WINDOWS:]
        ],
    }


def _public(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of the history, as the API shows it."""
    names = ("metrics", "window", "n", "note", "source")
    return {"ts": entry["ts"].isoformat(), **{name: entry[name] for name in names}}
