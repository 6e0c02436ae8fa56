"""The use cases of monitoring: metrics, late ground truth, and forgetting."""

import asyncio
import math
import secrets
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from model_deployment.documents.base import Collection, Query
from model_deployment.domain import ModelKey
from model_deployment.errors import InvalidRequest, ModelDeploymentError
from model_deployment.monitoring.keeper import Keeper
from model_deployment.monitoring.scores import comparison, measure
from model_deployment.monitoring.traffic import Traffic, Window

#: Entries of the history in one answer.
_HISTORY = 200
#: Windows of traffic in one answer: a day of minutes.
_WINDOWS = 1440
#: Newest labelled rows that the metrics of feedback are computed of.
_LABELLED = 1000
#: Items in one call, and labels looked at.
MAX_ITEMS = 10_000

#: The metrics of a version's run and logged model.
Baseline = Callable[[ModelKey], Awaitable[dict[str, float]]]
#: Writes metrics there, and says where.
WriteBack = Callable[[ModelKey, Mapping[str, float]], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Label:
    """The truth about one row of one answered request."""

    request_id: str
    row: int
    label: Any


class Monitoring:
    """Reads and writes what is known of how models do."""

    def __init__(
        self,
        keeper: Keeper,
        traffic: Traffic,
        *,
        baseline: Baseline,
        write_back: WriteBack | None,
    ) -> None:
        """Know nothing yet.

        Args:
            write_back: None where metrics that are set stay here.
        """
        self._keeper = keeper
        self._traffic = traffic
        self._baseline = baseline
        self._write_back = write_back

    async def metrics(self, key: ModelKey, since: datetime, until: datetime) -> dict[str, Any]:
        """Baseline, current, history, comparison and serving figures of a deployment.

        Raises:
            StoreUnavailable: the document store does not answer.
        """
        baseline, why = await self._known_baseline(key)
        history = await self._history(key, _HISTORY)
        newest = history[0] if history else None
        current = dict(newest["metrics"]) if newest else {}
        return {
            "name": str(key),
            "baseline": baseline,
            "baseline_error": why,
            "current": current,
            "history": [_told(entry) for entry in history],
            "comparison": comparison(baseline, current, newest["n"] if newest else None),
            "serving": await self._serving(key, since, until),
        }

    async def set_metrics(
        self,
        key: ModelKey,
        metrics: Mapping[str, float],
        *,
        window: str | None,
        n: int | None,
        note: str | None,
        source: str = "set",
    ) -> dict[str, Any]:
        """Note metrics that somebody measured.

        Raises:
            StoreUnavailable: nothing was noted.
            InvalidRequest: a metric is no finite number.
        """
        odd = [name for name, value in metrics.items() if not math.isfinite(value)]
        if odd or not metrics:
            raise InvalidRequest(
                f"cannot set the metrics of {key}: "
                + (f"{odd[0]!a} is no finite number" if odd else "there are none")
            )
        entry = {
            **_envelope(f"{key}/{time.time_ns()}-{secrets.token_hex(4)}", key),
            "metrics": dict(metrics),
            "window": window,
            "n": n,
            "note": note,
            "source": source,
        }
        documents = await self._keeper.opened()
        await documents.insert(Collection.METRICS, [entry])
        baseline, why = await self._known_baseline(key)
        return {
            **_told(entry),
            "comparison": comparison(baseline, metrics, n),
            "baseline_error": why,
            "written_to": await self._written(key, metrics),
        }

    async def feedback(self, key: ModelKey, items: Sequence[Label]) -> dict[str, Any]:
        """Note late ground truth. The same again changes nothing; another label replaces the old one.

        Raises:
            StoreUnavailable: some may have been noted; the same call again is right.
        """
        documents = await self._keeper.opened()
        rows = await self._captured_rows(key, {item.request_id for item in items})
        last = {(item.request_id, item.row): item for item in items}
        ids = {_label_id(key, item): item for item in last.values()}
        known = {
            found["_id"]: found["label"]
            async for found in documents.find(Query(Collection.LABELS, ids=list(ids)))
        }
        now = datetime.now(UTC)
        fresh = [_label(key, item, now) for id, item in ids.items() if id not in known]
        await documents.insert(Collection.LABELS, fresh)
        for id, item in ids.items():
            if id in known and known[id] != item.label:
                await documents.replace(Collection.LABELS, _label(key, item, now))
        matched = [one for one in last.values() if one.row < rows.get(one.request_id, 0)]
        metrics, n, coverage = await self._measured(key)
        return {
            "matched": len(matched),
            # Kept: a capture may still be on its way to the store.
            "unmatched": len(last) - len(matched),
            "duplicate": len(items)
            - len(last)
            + sum(known.get(id) == item.label for id, item in ids.items() if id in known),
            "coverage": coverage,
            "labelled_rows": n,
            "metrics": metrics,
        }

    async def erase(self, key: ModelKey, request_id: str) -> int:
        """Forget what was captured of a request; how many captures that were."""
        documents = await self._keeper.opened()
        query = Query(
            Collection.CAPTURES, model=key.model, version=key.version, request_ids=[request_id]
        )
        erased = await documents.delete(query)
        for collection in (Collection.LABELS, Collection.REFERENCES):
            await documents.delete(
                Query(collection, model=key.model, version=key.version, request_ids=[request_id])
            )
        return erased

    async def compare(self, model: str, versions: Sequence[int]) -> dict[str, Any]:
        """The metrics of several versions side by side."""
        until = datetime.now(UTC) + timedelta(minutes=1)
        found = await asyncio.gather(
            *(
                self.metrics(ModelKey(model, version), until - timedelta(days=1), until)
                for version in versions
            )
        )
        names = sorted({row["metric"] for one in found for row in one["comparison"]})
        rows = {}
        for name in names:
            rows[name] = {
                str(version): next(
                    (
                        {"baseline": row["baseline"], "current": row["current"]}
                        for row in one["comparison"]
                        if row["metric"] == name
                    ),
                    {"baseline": None, "current": None},
                )
                for version, one in zip(versions, found, strict=True)
            }
        return {
            "model": model,
            "versions": list(versions),
            "metrics": rows,
            "serving": {
                str(version): one["serving"]["total"]
                for version, one in zip(versions, found, strict=True)
            },
        }

    async def history(self, key: ModelKey, limit: int = _HISTORY) -> list[dict[str, Any]]:
        """Metrics that were set or computed, newest first."""
        return [_told(entry) for entry in await self._history(key, limit)]

    async def serving(self, key: ModelKey, since: datetime, until: datetime) -> dict[str, Any]:
        """What was served, in all and by the minute."""
        return await self._serving(key, since, until)

    async def _serving(self, key: ModelKey, since: datetime, until: datetime) -> dict[str, Any]:
        documents = await self._keeper.opened()
        query = Query(
            Collection.TRAFFIC, key.model, key.version, since, until,
            newest_first=True, limit=_WINDOWS,
        )  # fmt: skip
        windows: defaultdict[datetime, Window] = defaultdict(Window)
        async for found in documents.find(query):
            windows[found["ts"]].add(Window.from_dict(found))
        for moment, window in self._traffic.current(key):
            if since <= moment < until:
                windows[moment].add(window)
        total = Window()
        for window in windows.values():
            total.add(window)
        return {
            "since": since.isoformat(),
            "until": until.isoformat(),
            "total": total.summary(),
            "windows": [
                {"ts": moment.isoformat(), **windows[moment].summary()}
                for moment in sorted(windows)
            ],
        }

    async def _history(self, key: ModelKey, limit: int) -> list[dict[str, Any]]:
        documents = await self._keeper.opened()
        query = Query(
            Collection.METRICS, model=key.model, version=key.version,
            newest_first=True, limit=limit,
        )  # fmt: skip
        return [found async for found in documents.find(query)]

    async def _known_baseline(self, key: ModelKey) -> tuple[dict[str, float], str]:
        """And why it is not known, if it is not."""
        try:
            return await self._baseline(key), ""
        except ModelDeploymentError as error:
            return {}, error.detail

    async def _written(self, key: ModelKey, metrics: Mapping[str, float]) -> str:
        if self._write_back is None:
            return "nowhere: writing metrics back to MLflow is switched off"
        try:
            return await self._write_back(key, metrics)
        except ModelDeploymentError as error:
            return f"nowhere: {error.detail}"

    async def _captured_rows(self, key: ModelKey, request_ids: set[str]) -> dict[str, int]:
        """How many rows the answered requests had."""
        documents = await self._keeper.opened()
        query = Query(
            Collection.CAPTURES,
            model=key.model,
            version=key.version,
            request_ids=sorted(request_ids),
        )
        rows: dict[str, int] = {}
        async for found in documents.find(query):
            predictions = found["predictions"]
            count = len(predictions) if isinstance(predictions, list) else found["rows"]
            rows[found["request_id"]] = max(count, rows.get(found["request_id"], 0))
        return rows

    async def _measured(self, key: ModelKey) -> tuple[dict[str, float], int, float | None]:
        """Metrics of the newest labelled rows, how many these are, and the share that is labelled."""
        documents = await self._keeper.opened()
        labels: dict[str, dict[int, Any]] = defaultdict(dict)
        query = Query(
            Collection.LABELS, model=key.model, version=key.version,
            newest_first=True, limit=_LABELLED,
        )  # fmt: skip
        async for found in documents.find(query):
            labels[found["request_id"]].setdefault(found["row"], found["label"])
        pairs: list[tuple[Any, Any]] = []
        oldest: datetime | None = None
        captured = Query(
            Collection.CAPTURES, model=key.model, version=key.version, request_ids=sorted(labels)
        )
        seen: set[str] = set()
        async for found in documents.find(captured):
            predictions = found["predictions"]
            if found["request_id"] in seen or not isinstance(predictions, list):
                continue
            seen.add(found["request_id"])
            oldest = oldest or found["ts"]
            known = labels[found["request_id"]]
            pairs += [
                (label, predictions[row]) for row, label in known.items() if row < len(predictions)
            ]
        metrics = measure(pairs)
        if metrics and oldest is not None:
            # One entry a minute: feedback may come row by row.
            entry = {
                **_envelope(f"{key}/feedback/{int(time.time() // 60)}", key),
                "metrics": metrics,
                "window": f"{oldest.isoformat()}/",
                "n": len(pairs),
                "note": None,
                "source": "feedback",
            }
            await documents.replace(Collection.METRICS, entry)
        return metrics, len(pairs), await self._coverage(key, oldest, len(pairs))

    async def _coverage(
        self, key: ModelKey, oldest: datetime | None, labelled: int
    ) -> float | None:
        if oldest is None:
            return None
        documents = await self._keeper.opened()
        query = Query(
            Collection.CAPTURES, model=key.model, version=key.version, since=oldest, limit=MAX_ITEMS
        )
        rows = 0
        async for found in documents.find(query):
            predictions = found["predictions"]
            rows += len(predictions) if isinstance(predictions, list) else 1
        return min(1.0, labelled / rows) if rows else None


def _envelope(id: str, key: ModelKey) -> dict[str, Any]:
    return {"_id": id, "model": key.model, "version": key.version, "ts": datetime.now(UTC)}


def _label_id(key: ModelKey, item: Label) -> str:
    return f"{key}/{item.request_id}#{item.row}"


def _label(key: ModelKey, item: Label, now: datetime) -> dict[str, Any]:
    return {
        "_id": _label_id(key, item),
        "model": key.model,
        "version": key.version,
        "ts": now,
        "request_id": item.request_id,
        "row": item.row,
        "label": item.label,
    }


def _told(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of the history, for people."""
    names = ("metrics", "window", "n", "note", "source")
    return {"ts": entry["ts"].isoformat(), **{name: entry[name] for name in names}}
