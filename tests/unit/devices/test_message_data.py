"""The data of messages of devices, by kind: what is stored of it, and what makes a broken message."""

import json
import math
from typing import Any

import pytest

from model_deployment.core.devices import DeviceMessage, MessageKind
from model_deployment.devices.frames import read_frame
from model_deployment.devices.message_data import one_line
from tests.support.cases import each
from tests.support.device_frames import (
    CAPTURE,
    GOOD,
    LINE,
    MINUTE,
    NOW,
    NOW_MS,
    PROGRESS,
    data_of,
    message,
    reason_of,
)


@pytest.mark.parametrize("kind", sorted(GOOD))
def test_each_kind_is_read_as_it_is(kind: str) -> None:
    found = message(kind, GOOD[kind] | {"unknown": 1})
    assert found == DeviceMessage(7, MessageKind(kind), NOW, GOOD[kind])


@each("kind, change, words", [
        ("progress", {"state": "offered"}, "state is one of"),
        ("progress", {"state": 3}, "state is one of"),
        ("progress", {"release": 0}, "release is a whole number"),
        ("progress", {"bytes": -1}, "bytes is a whole number"),
        ("progress", {"of": 2**53}, "of is a whole number"),
        ("metrics", {"model": "a/b"}, "model name"),
        ("metrics", {"model": "--host"}, "model name"),
        ("metrics", {"version": "1"}, "version is a whole number"),
        ("metrics", {"requests": 1.5}, "requests is a whole number"),
        ("metrics", {"rows": 10**8 + 1}, "rows is a whole number"),
        ("metrics", {"latencies": [[3, 10**8 + 1]]}, "a count of latencies is a whole number"),
        ("metrics", {"errors": {"": 1}}, "kind of an error"),
        ("metrics", {"errors": {"\x1b": 1}}, "kind of an error"),
        ("metrics", {"errors": {str(n): n for n in range(21)}}, "errors is an object"),
        ("metrics", {"latencies": [[87, 1]]}, "bucket"),
        ("metrics", {"latencies": [[1, 1], [1, 1]]}, "latencies is a list"),
        ("metrics", {"latencies": [[1]]}, "latencies is a list"),
        ("metrics", {"latencies": [[1, -1]]}, "count of latencies"),
        ("log", {"lines": [LINE] * 101}, "at most 100"),
        ("log", {"lines": [{"at": 1, "text": 5}]}, "text is a text"),
        ("log", {"lines": ["x"]}, "is an object"),
        ("captures", {"captures": [CAPTURE] * 101}, "at most 100"),
        ("captures", {"captures": [CAPTURE | {"id": ""}]}, "id is a text"),
        ("captures", {"captures": [CAPTURE | {"id": "x" * 129}]}, "id is a text"),
        ("captures", {"captures": [CAPTURE | {"rows": [[1]]}]}, "one value for each"),
        ("captures", {"captures": [CAPTURE | {"rows": [1, 2]}]}, "one value for each"),
        ("captures", {"captures": [CAPTURE | {"columns": ["a", 1]}]}, "name of columns"),
        ("captures", {"captures": [CAPTURE | {"latency_ms": -1}]}, "latency_ms"),
        ("captures", {"captures": [CAPTURE | {"latency_ms": True}]}, "latency_ms"),
        ("captures", {"captures": [CAPTURE | {"version": 10**12}]}, "version"),
        ("answer", {"ok": 1}, "ok is true or false"),
        ("answer", {"id": None}, "id is a whole number"),
    ])  # fmt: skip
def test_data_that_breaks_a_rule_makes_a_broken_message(
    kind: str, change: dict[str, Any], words: str
) -> None:
    assert words in reason_of(kind, GOOD[kind] | change)


def test_kinds_and_members_that_are_missing_make_broken_messages() -> None:
    assert "there is no kind 'video'" in reason_of("video", {})
    assert "data is an object" in reason_of("log", None)
    assert "at is a whole number" in reason_of("log", GOOD["log"], at="now")


def test_a_missing_value_may_be_written_as_nan() -> None:
    text = json.dumps(
        {"type": "message", "seq": 1, "kind": "captures", "at": NOW_MS, "data": GOOD["captures"]}
    ).replace("null", "NaN")
    found = read_frame(text, NOW)
    assert isinstance(found, DeviceMessage)
    assert found.data["captures"][0]["rows"] == [[1, None], [2.5, "x"]]


def test_columns_without_names_are_called_as_on_servers() -> None:
    found = data_of("captures", {"captures": [CAPTURE | {"columns": None}]})
    assert found["captures"][0]["columns"] == ["f0", "f1"]


def test_long_texts_are_cut_and_control_characters_shown() -> None:
    reason = data_of("progress", PROGRESS | {"reason": "x" * 600})["reason"]
    assert reason == "x" * 499 + "…"
    line = LINE | {"text": "a\x1b[2J\r\nb\u202e\u2028é\t", "level": "ERROR"}
    found = data_of("log", {"lines": [line, LINE | {"level": "loud"}]})
    assert found["lines"][0]["text"] == "a\\x1b[2J\\r\\nb\\u202e\\u2028é\t"
    assert [one["level"] for one in found["lines"]] == ["error", "info"]
    assert one_line("\x00" * 10, 4) == "\\x00\\x00\\x00\\x00\\x00"[:3] + "…"


@pytest.mark.parametrize(
    ("at", "clamped", "off"),
    [
        (NOW_MS, NOW_MS, False),
        (NOW_MS + 59_000, NOW_MS + 59_000, False),
        (NOW_MS - 30 * 86_400_000, NOW_MS - 30 * 86_400_000, False),
        (0, NOW_MS, True),  # a clock that nobody has set
        (NOW_MS + 3_600_000, NOW_MS, True),
        (NOW_MS - 500 * 86_400_000, NOW_MS, True),
        (2**53 - 1, NOW_MS, True),
        (-(2**53) + 1, NOW_MS, True),
    ],
)
def test_a_clock_that_cannot_be_right_is_replaced_and_told(
    at: int, clamped: int, off: bool
) -> None:
    found = message("captures", {"captures": [CAPTURE | {"at": at}]}, at=at)
    assert isinstance(found, DeviceMessage)
    assert math.isclose(found.at.timestamp() * 1000, clamped, abs_tol=1)
    (capture,) = found.data["captures"]
    assert capture["at"] == clamped
    assert (capture.get("clock_off", False), found.data.get("clock_off", False)) == (off, off)
    minute = data_of("metrics", MINUTE | {"minute": at // 60_000})
    assert minute["minute"] == clamped // 60_000
    assert minute.get("clock_off", False) is off
