"""One answered prediction: as it lies in the spool, and as it goes to the document store.

In the spool it is what the wire had, unparsed, since that costs the request next to nothing. Taking it
apart into columns, rows and predictions is for later.
"""

import contextlib
import hashlib
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson

from model_deployment.gate import MalformedJson, dumps, loads
from model_deployment.tabular.body_tables import BodyTable, read
from model_deployment.tabular.input_columns import Fate, ModelInputs, fates

#: The inputs of a model, by the name of its artifacts; None if those are not there.
FindInputs = Callable[[str], ModelInputs | None]

_SIZES = struct.Struct("<III")
_NO_TABLE = "no table of rows in the body"


class LeftOut(StrEnum):
    """Why the inputs of a request are not kept."""

    TOO_LARGE = "too_large"
    UNREADABLE = "unreadable"
    #: It cannot be told which of its columns are to be kept from sight.
    SECRET = "secret"  # noqa: S105 - no password


def left_out(capture: Mapping[str, Any]) -> LeftOut | None:
    """Why a capture, whoever wrote it, has no inputs; None if it has, or may have had none.

    Earlier releases noted no more than that there was no table.
    """
    if known := capture.get("left_out"):
        return LeftOut(known)
    if capture.get("truncated"):
        return LeftOut.TOO_LARGE
    return LeftOut.UNREADABLE if str(capture.get("note", "")).startswith(_NO_TABLE) else None


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


def document(
    id: str, payload: bytes, limit: int, salt: bytes, find: FindInputs = lambda artifact: None
) -> dict[str, Any]:
    """What is kept of a record.

    Args:
        limit: bytes of body and answer together; of larger ones only the fact is kept.
        salt: mixed into the digests of columns that are kept as such, so that they cannot be looked up.
        find: the inputs of the model that was asked.

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
        # Whether the signature of the model was asked what its values are.
        "typed": False,
        "latency_ms": head["latency_ms"],
        "columns": [],
        "data": [],
        "predictions": None,
        "rows": 0,
        "truncated": "omitted" in head or size > limit,
        "left_out": "",
        "note": "",
    }
    if kept["truncated"]:
        return kept | _without(LeftOut.TOO_LARGE, f"body and answer have {size} bytes")
    try:
        kept["predictions"] = _predictions(answer)
    except MalformedJson:
        kept["note"] = "the answer is no JSON"
    inputs = find(str(head.get("artifact", "")))
    try:
        found = read(head["media_type"], body, nested=inputs is not None and inputs.nested)
    except MalformedJson:
        found = None
    if found is None:
        return kept | _without(LeftOut.UNREADABLE, f"{_NO_TABLE} ({head['media_type']})")
    kept["typed"] = inputs is not None
    exclude, hashed = head.get("exclude", ()), head.get("hash", ())
    return kept | _inputs(found, inputs or ModelInputs(), exclude, hashed, salt)


def _without(why: LeftOut, note: str) -> dict[str, Any]:
    return {"left_out": str(why), "note": note}


def _predictions(answer: bytes) -> Any:
    found = loads(answer)
    return found["predictions"] if isinstance(found, dict) and "predictions" in found else found


def _inputs(
    table: BodyTable, inputs: ModelInputs, exclude: list[str], hashed: list[str], salt: bytes
) -> dict[str, Any]:
    """The columns that may be kept. Of some only a digest: equal values stay equal, and no more."""
    taken = inputs.take(table)
    found = fates(taken, exclude, hashed, table.numbered)
    if found is None:
        return _without(LeftOut.SECRET, "which of its columns are to be hidden cannot be told")
    names: list[str] = []
    columns: list[Sequence[Any]] = []
    for one, fate in zip(taken, found, strict=True):
        if fate is not Fate.EXCLUDED:
            names.append(one.name)
            secret = fate is Fate.HASHED
            columns.append([_digest(v, salt) for v in one.values] if secret else one.values)
    data = (
        list(map(list, zip(*columns, strict=True))) if columns else [[] for _ in range(table.rows)]
    )
    return {"columns": names, "data": data, "rows": table.rows}


def _digest(value: Any, salt: bytes) -> str | None:
    if value is None:
        return None
    return hashlib.blake2b(dumps(value), digest_size=12, key=salt[:64]).hexdigest()
