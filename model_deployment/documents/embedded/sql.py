"""Documents as rows, and queries as SQL. Statements consist of constants; values are bound."""

import json
from typing import Any

from model_deployment.documents.base import Collection, Document, DocumentRefused, Query
from model_deployment.documents.envelope import MAX_BYTES, bound, examine, moment, writable

_INSERT = (
    "INSERT INTO documents (collection, id, model, version, ts, request_id, body) "
    "VALUES (?, ?, ?, ?, ?, ?, ?) "
)
INSERT = _INSERT + "ON CONFLICT (collection, id) DO NOTHING"
REPLACE = _INSERT + (
    "ON CONFLICT (collection, id) DO UPDATE SET model = excluded.model, version = excluded.version, "
    "ts = excluded.ts, request_id = excluded.request_id, body = excluded.body"
)

#: Any number of values in one variable.
_ONE_OF = "%s IN (SELECT value FROM json_each(?))"

Row = tuple[str, str, str, int, int, str | None, str]
Statement = tuple[str, list[Any]]


def row(collection: Collection, document: Document) -> Row:
    """The row of a document.

    Raises:
        DocumentRefused: it is not a valid document, or too large.
    """
    envelope = examine(document)
    content = {key: value for key, value in document.items() if key not in {"_id", "ts"}}
    try:
        # NaN and Infinity stay, as Python reads them back; half surrogate pairs are escaped.
        body = json.dumps(content, separators=(",", ":"))
    except Exception as error:  # whatever it is, this document will not become JSON
        raise DocumentRefused(f"JSON cannot hold it: {error}") from error
    if len(body) > MAX_BYTES:
        raise DocumentRefused(f"it has {len(body)} bytes, and at most {MAX_BYTES} are accepted")
    return (
        collection.value,
        envelope.id,
        envelope.model,
        envelope.version,
        envelope.ts,
        envelope.request_id,
        body,
    )


def document(id: str, ts: int, body: str) -> dict[str, Any]:
    """The document of a row that :func:`page` selected."""
    return {"_id": id, **json.loads(body), "ts": moment(ts)}


def count(query: Query) -> Statement:
    where, values = _where(query)
    return f"SELECT count(*) FROM documents WHERE {where}", values  # noqa: S608


def delete(query: Query, limit: int) -> Statement:
    where, values = _where(query)
    statement = (
        "DELETE FROM documents WHERE rowid IN "  # noqa: S608
        f"(SELECT rowid FROM documents WHERE {where} LIMIT {limit})"
    )
    return statement, values


def page(query: Query, after: tuple[int, str] | None, size: int) -> Statement:
    """Select a page of ``id, ts, body``.

    Args:
        after: ``ts`` and ``id`` of the last row of the page before.
        size: the number of rows at most.
    """
    (where, values), unindexed = _where(query), _unindexed(query)
    order, beyond = ("DESC", "<") if query.newest_first else ("ASC", ">")
    if after is not None:
        where += f" AND ({unindexed}ts, {unindexed}id) {beyond} (?, ?)"
        values += after
    statement = (
        f"SELECT id, ts, body FROM documents WHERE {where} "  # noqa: S608
        f"ORDER BY {unindexed}ts {order}, {unindexed}id {order} LIMIT {size}"
    )
    return statement, values


def _where(query: Query) -> Statement:
    unindexed = _unindexed(query)
    conditions: list[tuple[str, Any]] = [("collection = ?", query.collection.value)]
    if query.model is not None:
        conditions.append((f"{unindexed}model = ?", next(iter(writable([query.model])), None)))
    if query.version is not None:
        conditions.append((f"{unindexed}version = ?", query.version))
    if query.ids is not None:
        conditions.append((_ONE_OF % "id", json.dumps(writable(query.ids))))
    if query.request_ids is not None:
        column = "request_id" if query.ids is None else "+request_id"
        conditions.append((_ONE_OF % column, json.dumps(writable(query.request_ids))))
    if query.since is not None:
        conditions.append((f"{unindexed}ts >= ?", bound(query.since)))
    if query.until is not None:
        conditions.append((f"{unindexed}ts < ?", bound(query.until)))
    return " AND ".join(text for text, _ in conditions), [value for _, value in conditions]


def _unindexed(query: Query) -> str:
    """A prefix that keeps SQLite from using a column's index.

    Given ids, SQLite would otherwise walk all documents in their order instead of sorting the few.
    """
    return "" if query.ids is None and query.request_ids is None else "+"
