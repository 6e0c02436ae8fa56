"""The two forms of a capture: a record in the spool, and a document in the store.

The answer of a candidate to the copy of a request is a record as well; see ``shadow.py``.

A record holds request and answer unparsed, as they were on the wire: that costs the request next to
nothing. The drain parses them into columns, rows and predictions later.
"""

import contextlib
import hashlib
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson

from model_deployment.core.answer_shape import unwrapped
from model_deployment.gate import MalformedJson, dumps, loads
from model_deployment.tabular.body_tables import BodyTable, read
from model_deployment.tabular.input_columns import Fate, ModelInputs, fates

#: The inputs of a model, by the name of its artifacts; None if the artifacts are missing.
FindInputs = Callable[[str], ModelInputs | None]

_SIZES = struct.Struct("<III")
_NO_TABLE = "no table of rows in the body"


class LeftOut(StrEnum):
    """Why the inputs of a request are not stored."""

    TOO_LARGE = "too_large"
    UNREADABLE = "unreadable"
    #: Nothing tells which of its columns have to be hidden.
    SECRET = "secret"  # noqa: S105 - no password


def left_out(capture: Mapping[str, Any]) -> LeftOut | None:
    """Why a capture has no inputs; None if it has some, or the request had none.

    Captures of earlier releases have a note instead of a reason.
    """
    if reason := capture.get("left_out"):
        return LeftOut(reason)
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
        ValueError: it is not a record.
    """
    if len(payload) < _SIZES.size:
        raise ValueError("cannot read the record: it has no head")
    head, body, answer = _SIZES.unpack_from(payload)
    start, end = _SIZES.size + head, _SIZES.size + head + body
    if len(payload) != end + answer:
        raise ValueError(
            "cannot read the record: the lengths of its parts differ from those in its head"
        )
    return orjson.loads(payload[_SIZES.size : start]), payload[start:end], payload[end:]


def redacted(payload: bytes) -> bytes:
    """A record without body and answer, if some of its columns have to be hidden."""
    try:
        head, _, _ = decode(payload)
        secret = bool(head.get("exclude") or head.get("hash"))
    except (ValueError, AttributeError):
        return payload[: _SIZES.size]
    return payload[: _SIZES.size + _SIZES.unpack_from(payload)[0]] if secret else payload


def envelope(payload: bytes) -> dict[str, Any]:
    """Model, version, request id, time and rollout of a record, as far as they are readable."""
    try:
        head, _, _ = decode(payload)
    except ValueError:
        return {}
    found: dict[str, Any] = {}
    if not isinstance(head, dict):
        return found
    model, version, request_id = (head.get(name) for name in ("model", "version", "request_id"))
    if isinstance(model, str) and type(version) is int:
        found |= {"model": model, "version": version}
    if isinstance(request_id, str):
        found["request_id"] = request_id
    if type(rollout := head.get("shadow")) is int:
        found["rollout"] = rollout
    with contextlib.suppress(LookupError, TypeError, ValueError, OverflowError, OSError):
        found["ts"] = datetime.fromtimestamp(head["at"], UTC)
    return found


def document(
    id: str, payload: bytes, limit: int, salt: bytes, find: FindInputs = lambda artifact: None
) -> dict[str, Any]:
    """The document of a record.

    Args:
        limit: bytes of body and answer together; a larger request is stored without its values.
        salt: mixed into the digests of hashed columns, so that nobody can look them up.
        find: finds the inputs of the model.

    Raises:
        ValueError, LookupError, TypeError: the record is damaged for good.
    """
    head, body, answer = decode(payload)
    size = head.get("omitted", len(body) + len(answer))
    made: dict[str, Any] = {
        "_id": id,
        "model": str(head["model"]),
        "version": int(head["version"]),
        "ts": datetime.fromtimestamp(head["at"], UTC),
        "request_id": head["request_id"],
        "launch_id": head["launch_id"],
        # Whether the values were converted by the signature of the model.
        "typed": False,
        "latency_ms": head["latency_ms"],
        "columns": [],
        "data": [],
        "predictions": None,
        "rows": 0,
        "truncated": "omitted" in head or size > limit,
        "left_out": "",
        # Columns that are not stored, or as digests only.
        "hidden": [],
        # Whether the request had parameters, which are not stored.
        "params": False,
        "note": "",
    }
    if endpoint := head.get("endpoint"):
        made["endpoint"] = str(endpoint)
    if made["truncated"]:
        return made | _without(LeftOut.TOO_LARGE, f"body and answer have {size} bytes")
    try:
        made["predictions"] = predictions_of(answer)
    except MalformedJson:
        made["note"] = "the answer is no JSON"
    inputs = find(str(head.get("artifact", "")))
    try:
        table = read(head["media_type"], body, nested=inputs is not None and inputs.nested)
    except MalformedJson:
        table = None
    if table is None:
        return made | _without(LeftOut.UNREADABLE, f"{_NO_TABLE} ({head['media_type']})")
    made["typed"], made["params"] = inputs is not None, table.has_params
    if table.is_chat:
        made["chat"] = True
    exclude, hashed = head.get("exclude", ()), head.get("hash", ())
    return made | _inputs(table, inputs or ModelInputs(), exclude, hashed, salt)


def _without(why: LeftOut, note: str) -> dict[str, Any]:
    return {"left_out": str(why), "note": note}


def predictions_of(answer: bytes) -> Any:
    """The predictions in the JSON of an answer.

    Raises:
        MalformedJson: it is no JSON.
    """
    return unwrapped(loads(answer))


def _inputs(
    table: BodyTable, inputs: ModelInputs, exclude: list[str], hashed: list[str], salt: bytes
) -> dict[str, Any]:
    """The columns that may be stored, some as digests only: equal values have equal digests."""
    taken = inputs.take(table)
    found = fates(taken, exclude, hashed, table.numbered)
    if found is None:
        return _without(LeftOut.SECRET, "it is unknown which of its columns must be hidden")
    names: list[str] = []
    columns: list[Sequence[Any]] = []
    hidden = [one.name for one, fate in zip(taken, found, strict=True) if fate is not Fate.KEPT]
    for one, fate in zip(taken, found, strict=True):
        if fate is not Fate.EXCLUDED:
            names.append(one.name)
            secret = fate is Fate.HASHED
            columns.append([_digest(v, salt) for v in one.values] if secret else one.values)
    data = (
        list(map(list, zip(*columns, strict=True))) if columns else [[] for _ in range(table.rows)]
    )
    return {"columns": names, "data": data, "rows": table.rows, "hidden": hidden}


def _digest(value: Any, salt: bytes) -> str | None:
    if value is None:
        return None
    return hashlib.blake2b(dumps(value), digest_size=12, key=salt[:64]).hexdigest()
