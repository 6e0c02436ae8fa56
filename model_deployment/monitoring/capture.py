"""One answered prediction: as it lies in the spool, and as it goes to the document store.

In the spool it is what the wire had, unparsed, since that costs the request next to nothing. Taking it
apart into columns, rows and predictions is for later.
"""

import contextlib
import hashlib
import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from model_deployment.gate import MalformedJson, dumps, loads
from model_deployment.monitoring.tables import table

_SIZES = struct.Struct("<III")


def encode(head: dict[str, Any], body: bytes, answer: bytes) -> list[bytes]:
    """The parts of a record."""
    line = orjson.dumps(head)
    return [_SIZES.pack(len(line), len(body), len(answer)), line, body, answer]


def decode(payload: bytes) -> tuple[dict[str, Any], bytes, bytes]:
    """The inverse of :func:`encode`.

    Raises:
        ValueError: it is none.
    """
    if len(payload) < _SIZES.size:
        raise ValueError("it has no head")
    head, body, answer = _SIZES.unpack_from(payload)
    start, end = _SIZES.size + head, _SIZES.size + head + body
    if len(payload) != end + answer:
        raise ValueError("its parts have other lengths")
    return orjson.loads(payload[_SIZES.size : start]), payload[start:end], payload[end:]


def harmless(payload: bytes) -> bytes:
    """What of a record may be shown as it is: without body and answer if columns of it are secret."""
    try:
        head, _, _ = decode(payload)
        secret = bool(head.get("exclude") or head.get("hash"))
    except (ValueError, AttributeError):
        return payload[: _SIZES.size]
    return payload[: _SIZES.size + _SIZES.unpack_from(payload)[0]] if secret else payload


def envelope(payload: bytes) -> dict[str, Any]:
    """What can be told of a record, whether it can be kept or not: what it is of, when, and its request."""
    try:
        head, _, _ = decode(payload)
    except ValueError:
        return {}
    known: dict[str, Any] = {}
    if not isinstance(head, dict):
        return known
    model, version, request_id = (head.get(name) for name in ("model", "version", "request_id"))
    if isinstance(model, str) and type(version) is int:
        known |= {"model": model, "version": version}
    if isinstance(request_id, str):
        known["request_id"] = request_id
    with contextlib.suppress(LookupError, TypeError, ValueError, OverflowError, OSError):
        known["ts"] = datetime.fromtimestamp(head["at"], UTC)
    return known


def document(id: str, payload: bytes, limit: int, salt: bytes) -> dict[str, Any]:
    """What is kept of a record.

    Args:
        limit: bytes of body and answer together; of larger ones only the fact is kept.
        salt: mixed into the digests of columns that are kept as such, so that they cannot be looked up.

    Raises:
        ValueError, LookupError, TypeError: it can never be read.
    """
    head, body, answer = decode(payload)
    size = head.get("omitted", len(body) + len(answer))
    kept: dict[str, Any] = {
        "_id": id,
        "model": str(head["model"]),
        "version": int(head["version"]),
        "ts": datetime.fromtimestamp(head["at"], UTC),
        "request_id": head["request_id"],
        "launch_id": head["launch_id"],
        "latency_ms": head["latency_ms"],
        "columns": [],
        "data": [],
        "predictions": None,
        "rows": 0,
        "truncated": "omitted" in head or size > limit,
        "note": "",
    }
    if kept["truncated"]:
        kept["note"] = f"body and answer have {size} bytes"
        return kept
    try:
        kept["predictions"] = _predictions(answer)
    except MalformedJson:
        kept["note"] = "the answer is no JSON"
    try:
        found = table(head["media_type"], body)
    except MalformedJson:
        found = None
    if found is None:
        kept["note"] = f"no table of rows in the body ({head['media_type']})"
        return kept
    columns, rows = found
    exclude, hashed = frozenset(head.get("exclude", ())), frozenset(head.get("hash", ()))
    kept["columns"], kept["data"] = _allowed(columns, rows, exclude, hashed, salt)
    kept["rows"] = len(rows)
    return kept


def _predictions(answer: bytes) -> Any:
    found = loads(answer)
    return found["predictions"] if isinstance(found, dict) and "predictions" in found else found


def _allowed(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    exclude: frozenset[str],
    hashed: frozenset[str],
    salt: bytes,
) -> tuple[list[str], list[list[Any]]]:
    """The columns that may be kept. Of some only a digest: equal values stay equal, and no more."""
    places = [place for place, name in enumerate(columns) if name not in exclude]
    secret = {place for place in places if columns[place] in hashed}
    names = [columns[place] for place in places]
    return names, [
        [_digest(row[place], salt) if place in secret else row[place] for place in places]
        for row in rows
    ]


def _digest(value: Any, salt: bytes) -> str | None:
    if value is None:
        return None
    return hashlib.blake2b(dumps(value), digest_size=12, key=salt[:64]).hexdigest()
