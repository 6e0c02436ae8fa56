"""Ground truth: stores labels, joins them with captures, and computes metrics."""

import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from model_deployment.core.errors import InvalidRequest
from model_deployment.core.names import ModelKey
from model_deployment.core.series import next_value, predicts_series
from model_deployment.documents.base import Collection, Documents, Query
from model_deployment.documents.owner_view import CaptureSource
from model_deployment.metrics.scores import scores
from model_deployment.metrics.service import envelope

MAX_ITEMS = 10_000
#: Seconds to wait for captures that are still on their way to the store.
PATIENCE = 3.0
#: Newest labelled rows that metrics are computed from.
_LABELLED = 1000


@dataclass(frozen=True, slots=True)
class Label:
    """The true outcome of one row of a predicted request."""

    request_id: str
    row: int
    label: Any


@dataclass(frozen=True, slots=True)
class _Measured:
    """Metrics of the newest labelled rows."""

    metrics: dict[str, float]
    rows: int
    #: Share (0 to 1) of the requests since the oldest of these rows that have a label.
    coverage: float | None


async def _no_signature(key: ModelKey) -> None:
    return None


class Feedback:
    def __init__(
        self,
        store: CaptureSource,
        signature: Callable[[ModelKey], Awaitable[Mapping[str, Any] | None]] = _no_signature,
    ) -> None:
        """``signature`` finds that of a deployment, in JSON form."""
        self.store = store
        self._signature = signature

    async def add(self, key: ModelKey, items: Sequence[Label]) -> dict[str, Any]:
        """Store labels, and compute metrics. A label that comes again replaces the earlier one.

        Raises:
            InvalidRequest: the store refuses some labels; the others are stored.
            StoreUnavailable: some labels may be stored; the call can be repeated.
        """
        documents = await self.store.opened()
        last = {_id(key, item): item for item in items}
        known = {
            found["_id"]: found["label"]
            async for found in documents.find(Query(Collection.LABELS, ids=list(last)))
        }
        same = {id for id, item in last.items() if id in known and _same(known[id], item.label)}
        await self._write(documents, key, {id: last[id] for id in last.keys() - same})
        rows, complete = await self._captured_rows(
            documents, key, {one.request_id for one in items}
        )
        found = Counter(
            _fate(rows.get(item.request_id), item.row, complete) for item in last.values()
        )
        measured = await self._measured(documents, key, changed=len(same) < len(last))
        return {
            "matched": found["matched"],
            # Stored; they count once their captures have reached the store.
            "waiting": found["waiting"],
            # Stored as well: a label may come before its request.
            "unmatched": found["unmatched"] + found["beyond"],
            # Several requests had this id, so the label belongs to none of them.
            "ambiguous": found["ambiguous"],
            "duplicate": len(items) - len(last) + len(same),
            "coverage": measured.coverage,
            "labelled_rows": measured.rows,
            "metrics": measured.metrics,
            "note": _note(found, bool(measured.metrics)),
        }

    async def _captured_rows(
        self, documents: Documents, key: ModelKey, request_ids: set[str]
    ) -> tuple[dict[str, list[int]], bool]:
        """The numbers of rows of the requests by id, and whether no capture can still be on its way.

        Captures reach the store a moment after their answers, so labels may arrive first.
        """
        rows = await _rows(documents, key, request_ids)
        missing = request_ids - rows.keys()
        if not missing:
            return rows, True
        complete = await self.store.caught_up(PATIENCE)
        return rows | await _rows(documents, key, missing), complete

    async def _write(self, documents: Documents, key: ModelKey, fresh: dict[str, Label]) -> None:
        now = datetime.now(UTC)
        # Labels of an earlier model of this name too, though queries do not find them.
        await documents.delete(Query(Collection.LABELS, ids=list(fresh)))
        written = await documents.insert(
            Collection.LABELS, [_document(id, key, item, now) for id, item in fresh.items()]
        )
        if written.refused:
            id, why = next(iter(written.refused.items()))
            raise InvalidRequest(
                f"cannot store {len(written.refused)} of the labels, the first of request "
                f"{fresh[id].request_id!a}: {why}"
            )

    async def _measured(self, documents: Documents, key: ModelKey, changed: bool) -> _Measured:
        labels: dict[str, dict[int, Any]] = defaultdict(dict)
        newest = Query.of(Collection.LABELS, key, newest_first=True, limit=_LABELLED)
        async for found in documents.find(newest):
            labels[found["request_id"]].setdefault(found["row"], found["label"])
        captures: dict[str, Any] = {}
        twice: set[str] = set()
        oldest: datetime | None = None
        async for found in documents.find(_captures(key, labels)):
            twice |= {found["request_id"]} & captures.keys()
            captures[found["request_id"]] = found["predictions"]
            oldest = oldest or found["ts"]
        pairs = [
            (label, predictions[row])
            for request_id, predictions in captures.items()
            if request_id not in twice and isinstance(predictions, list)
            for row, label in labels[request_id].items()
            if row < len(predictions)
        ]
        if pairs and predicts_series(await self._signature(key)):
            pairs = [(label, next_value(predicted)) for label, predicted in pairs]
        scored = scores(pairs)
        if scored.values and changed and oldest is not None:
            # One entry a minute: feedback may come row by row.
            entry = {
                **envelope(f"{key}/feedback/{int(time.time() // 60)}", key),
                "metrics": scored.values,
                "kindest": scored.kindest,
                "standard_errors": scored.errors,
                "halves": list(scored.halves),
                "window": f"{oldest.isoformat()}/",
                "n": len(pairs),
                "note": None,
                "source": "feedback",
            }
            await documents.replace(Collection.METRICS, entry)
        return _Measured(
            scored.values, len(pairs), await _coverage(documents, key, oldest, len(captures))
        )


async def _rows(documents: Documents, key: ModelKey, request_ids: set[str]) -> dict[str, list[int]]:
    """The numbers of rows of the requests by id: several requests may have the same id."""
    rows: dict[str, list[int]] = defaultdict(list)
    async for found in documents.find(_captures(key, request_ids)):
        predictions = found["predictions"]
        known = len(predictions) if isinstance(predictions, list) else found["rows"]
        rows[found["request_id"]].append(known)
    return rows


async def _coverage(
    documents: Documents, key: ModelKey, oldest: datetime | None, labelled: int
) -> float | None:
    if oldest is None:
        return None
    captured = await documents.count(Query.of(Collection.CAPTURES, key, since=oldest))
    return min(1.0, labelled / captured) if captured else None


def _captures(key: ModelKey, request_ids: Any) -> Query:
    return Query.of(Collection.CAPTURES, key, request_ids=sorted(request_ids))


def _fate(rows: Sequence[int] | None, row: int, complete: bool) -> str:
    if not rows:
        return "unmatched" if complete else "waiting"
    if len(rows) > 1:
        return "ambiguous"
    return "matched" if row < rows[0] else "beyond"


def _note(found: Mapping[str, int], measured: bool) -> str | None:
    """Explains to the sender why labels have no prediction, or nothing was measured."""
    notes = {
        "waiting": "{} of the labels: the request may still be on its way to the document store. They "
        "are stored, and count when it arrives",
        "unmatched": "{} of the labels: this deployment has no captured request with this id: the "
        "request_id is not the X-Request-Id of a prediction's answer, or the request was not captured "
        "(capture_rate), or has been deleted (retention_days). They are stored",
        "beyond": "{} of the labels: the request has no such row (rows count from 0)",
        "ambiguous": "{} of the labels: several requests have this request_id, so the labels are not used",
    }
    parts = [text.format(found[fate]) for fate, text in notes.items() if found[fate]]
    if found["matched"] and not measured:
        parts.append("no metrics: the answers do not have one value for each row")
    return "; ".join(parts) or None


def _same(one: Any, other: Any) -> bool:
    return bool(type(one) is type(other) and one == other)


def _id(key: ModelKey, item: Label) -> str:
    return f"{key}/{item.request_id}#{item.row}"


def _document(id: str, key: ModelKey, item: Label, now: datetime) -> dict[str, Any]:
    return {
        **envelope(id, key),
        "ts": now,
        "request_id": item.request_id,
        "row": item.row,
        "label": item.label,
    }
