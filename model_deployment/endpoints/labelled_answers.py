"""Answers of a version whose true outcomes are known: captures joined with labels."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from model_deployment.core.names import ModelKey
from model_deployment.documents.base import Collection, Documents, Query
from model_deployment.documents.streams import stream, stream_requests


@dataclass(frozen=True, slots=True)
class LabelledAnswer:
    """One answer with the labels of some of its rows."""

    request_id: str
    at: datetime
    #: Label and prediction, by row.
    rows: tuple[tuple[Any, Any], ...]


async def first_answer(documents: Documents, key: ModelKey, since: datetime) -> datetime | None:
    """When the first answer of a version was captured; None if none was.

    Raises:
        StoreUnavailable: unknown.
    """
    query = Query.of(Collection.CAPTURES, key, since=since, limit=1)
    async with aclosing(stream(documents, query)) as captures:
        first = await anext(captures, None)
    return first["ts"] if first else None


async def labels_of(
    documents: Documents, key: ModelKey, request_ids: Iterable[str]
) -> dict[str, dict[int, Any]]:
    """The labels of requests to a version.

    Raises:
        StoreUnavailable: unknown.
    """
    found: dict[str, dict[int, Any]] = defaultdict(dict)
    query = Query.of(Collection.LABELS, key)
    async with aclosing(stream_requests(documents, query, dict.fromkeys(request_ids))) as stored:
        async for one in stored:
            found[one["request_id"]][one["row"]] = one["label"]
    return dict(found)


async def labelled_answers(
    documents: Documents,
    key: ModelKey,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    newest_first: bool = False,
    limit: int,
) -> list[LabelledAnswer]:
    """Answers with labels, oldest first.

    Args:
        since, until: of the answers.
        newest_first: whether the newest labels are read, if there are more than the limit.
        limit: labels that are read at most.

    Raises:
        StoreUnavailable: unknown.
    """
    # Labels come after their requests.
    query = Query.of(Collection.LABELS, key, since=since, newest_first=newest_first, limit=limit)
    labels: dict[str, dict[int, Any]] = defaultdict(dict)
    async with aclosing(stream(documents, query)) as stored:
        async for one in stored:
            labels[one["request_id"]].setdefault(one["row"], one["label"])
    answered = Query.of(Collection.CAPTURES, key, since=since, until=until)
    async with aclosing(stream_requests(documents, answered, labels)) as found:
        # Of a capture only these members are needed, and its data may be large.
        captures = [
            {name: capture[name] for name in ("request_id", "ts", "predictions")}
            async for capture in found
        ]
    times = Counter(one["request_id"] for one in captures)
    answers = [
        LabelledAnswer(
            one["request_id"], one["ts"], _joined(labels[one["request_id"]], one["predictions"])
        )
        for one in captures
        if times[one["request_id"]] == 1
    ]
    return sorted((one for one in answers if one.rows), key=lambda one: one.at)


def _joined(labels: Mapping[int, Any], predictions: Any) -> tuple[tuple[Any, Any], ...]:
    """Label and prediction of the rows that have both."""
    if not isinstance(predictions, list):
        return ()
    return tuple(
        (label, predictions[row])
        for row, label in sorted(labels.items())
        if 0 <= row < len(predictions) and label is not None and predictions[row] is not None
    )
