"""The documents of what devices have measured and captured, in the form of those of servers. Pure.

Captures are as ``recording/capture.py`` makes them, so that reports and datasets read both; minutes are as
``recording/windows.py`` makes them.
"""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from model_deployment.core.device_messages import StoredMessage
from model_deployment.core.devices import MessageKind
from model_deployment.documents.base import Collection

#: Bytes of a refused document that are stored with the reason.
_SAMPLE = 4096
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def collection_of(kind: MessageKind) -> Collection:
    """Where the documents of a kind of message go."""
    captures = kind is MessageKind.CAPTURES
    return Collection.DEVICE_CAPTURES if captures else Collection.DEVICE_TRAFFIC


def documents_of(message: StoredMessage, instance: str) -> list[dict[str, Any]]:
    """The documents of a message. Made again, they have the same ids.

    Args:
        instance: names the controller's data directory, in whose state ids of devices are unique.

    Raises:
        LookupError, TypeError, ValueError, ArithmeticError: it is not what this release stores.
    """
    id = f"{instance}/{message.device_id}/{message.stream}/{message.seq}"
    if message.kind is MessageKind.METRICS:
        return [_minute(id, message, instance)]
    captures = message.data["captures"]
    return [_capture(f"{id}/{place}", message, one) for place, one in enumerate(captures)]


def dead_letter(document: Mapping[str, Any], reason: str, received_at: datetime) -> dict[str, Any]:
    """What is kept of a document that the store refuses."""
    content = json.dumps(document, default=str).encode("ascii")
    kept = ("_id", "model", "version", "ts", "request_id", "device", "project")
    return {
        "model": "",
        "version": 0,
        "ts": received_at,
        **{name: document[name] for name in kept if name in document},
        "reason": reason[:1000],
        "bytes": len(content),
        "sample": base64.b64encode(content[:_SAMPLE]).decode(),
    }


def unreadable(message: StoredMessage, instance: str) -> dict[str, Any]:
    """A document for the dead letter of a message that has none."""
    return {
        "_id": f"{instance}/{message.device_id}/{message.stream}/{message.seq}",
        "ts": message.received_at,
        "device": message.device,
        "project": message.project,
        "data": dict(message.data),
    }


def day_of_device(instance: str, device_id: int, at: datetime) -> str:
    """What all minutes of a device on a day (UTC) have as ``request_id``: stores have an index of it."""
    return f"{instance}/{device_id}/{at.astimezone(UTC):%Y-%m-%d}"


def _minute(id: str, message: StoredMessage, instance: str) -> dict[str, Any]:
    data = message.data
    at = _EPOCH + timedelta(minutes=data["minute"])
    return {
        **_head(id, message, data),
        "request_id": day_of_device(instance, message.device_id, at),
        "ts": at,
        "requests": data["requests"],
        "rows": data["rows"],
        "errors": data["errors"],
        "latencies": data["latencies"],
        # Devices do not count these.
        "violations": [],
        "let_through": 0,
    }


def _capture(id: str, message: StoredMessage, capture: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **_head(id, message, capture),
        "ts": _EPOCH + timedelta(milliseconds=capture["at"]),
        "request_id": capture["id"],
        "typed": False,
        "latency_ms": capture["latency_ms"],
        "columns": capture["columns"],
        "data": capture["rows"],
        "predictions": capture["predictions"],
        "rows": len(capture["rows"]),
        "truncated": False,
        "left_out": "",
        # Devices hide none of their columns.
        "hidden": [],
        "params": False,
        "note": "the clock of the device was wrong" if capture.get("clock_off") else "",
    }


def _head(id: str, message: StoredMessage, data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "_id": id,
        "model": data["model"],
        "version": data["version"],
        "project": message.project,
        "device": message.device,
        "release": data["release"],
        "received_at": message.received_at.isoformat(timespec="milliseconds"),
    }
