"""Frames of devices, good ones and changed ones, as the controller reads them."""

import json
from datetime import UTC, datetime
from typing import Any

from model_deployment.core.device_messages import BrokenMessage
from model_deployment.core.devices import DeviceMessage
from model_deployment.devices.frames import Frame, read_frame

NOW = datetime(2026, 1, 31, 12, 0, 0, 500_000, tzinfo=UTC)
NOW_MS = 1769860800500
HELLO = {"type": "hello", "protocol": 1, "agent": "1.2.3", "stream": "s-1", "running": 4}


def frame(value: Any) -> Frame:
    """A frame that has come now."""
    return read_frame(json.dumps(value), NOW)


def message(kind: str, data: Any, **more: Any) -> Frame:
    """The seventh message of a stream."""
    return frame({"type": "message", "seq": 7, "kind": kind, "at": NOW_MS, "data": data, **more})


def data_of(kind: str, data: Any) -> dict[str, Any]:
    """What is stored of a good message."""
    found = message(kind, data)
    assert isinstance(found, DeviceMessage), found
    return dict(found.data)


def reason_of(kind: str, data: Any, **more: Any) -> str:
    """Why a message is broken."""
    found = message(kind, data, **more)
    assert isinstance(found, BrokenMessage), found
    assert found.seq == 7
    return found.reason


CAPTURE = {
    "id": "r-1", "at": NOW_MS, "release": 4, "model": "diabetes", "version": 2, "columns": ["a", "b"],
    "rows": [[1, None], [2.5, "x"]], "predictions": [1.0, 2.0], "latency_ms": 1.5,
}  # fmt: skip
MINUTE = {
    "release": 4, "model": "diabetes", "version": 2, "minute": NOW_MS // 60_000, "requests": 3,
    "rows": 5, "errors": {"model": 1}, "latencies": [[0, 1], [86, 2]],
}  # fmt: skip
PROGRESS = {"release": 4, "state": "failed", "reason": "no space", "bytes": 10, "of": 20}
LINE = {"at": NOW_MS, "level": "info", "text": "up"}
#: Data of each kind of message.
GOOD: dict[str, dict[str, Any]] = {
    "captures": {"captures": [CAPTURE]},
    "metrics": MINUTE,
    "progress": PROGRESS,
    "log": {"lines": [LINE]},
    "answer": {"id": 3, "ok": False, "detail": "cannot"},
}
