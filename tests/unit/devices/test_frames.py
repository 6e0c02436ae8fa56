"""What devices send: whatever it is, it becomes something that was checked, or the protocol's own error."""

import json
import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.core.device_messages import BrokenMessage
from model_deployment.core.devices import DeviceMessage, MessageKind
from model_deployment.devices.frames import (
    Frame,
    Hello,
    NotProtocol,
    Ping,
    Posted,
    read_frame,
    read_posted,
)
from model_deployment.gate import loads
from tests.support.device_frames import GOOD, HELLO, NOW, NOW_MS, frame, message

_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["hello", "message", "ping", "metrics", "log", "captures", "\x1b[2J", "\ud800"]
    )
)
_names = st.sampled_from([
    "type", "protocol", "agent", "stream", "running", "seq", "kind", "at", "data", "health", "lines",
    "captures", "release", "state", "model", "version", "minute", "requests", "rows", "errors",
    "latencies", "columns", "predictions", "id", "ok", "detail", "text", "level", "messages",
])  # fmt: skip
_json = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(_names | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=25,
)


@st.composite
def _nearly(draw: st.DrawFn) -> Any:
    """A good frame with one or two members changed, anywhere."""
    kind = draw(st.sampled_from(sorted(GOOD)))
    found: Any = json.loads(
        json.dumps({"type": "message", "seq": 1, "kind": kind, "at": NOW_MS, "data": GOOD[kind]})
    )
    for _ in range(draw(st.integers(1, 2))):
        place: Any = found
        while isinstance(place, dict | list) and place:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = draw(st.sampled_from(keys))
            if not isinstance(place[key], dict | list) or draw(st.booleans()):
                place[key] = draw(_json)
                break
            place = place[key]
    return found


def _storable(value: Any) -> None:
    """The state database and the documents can have it: JSON that every parser reads."""
    loads(json.dumps(value, allow_nan=False).encode())


def _check(found: Frame) -> None:
    match found:
        case Hello():
            assert len(found.agent) <= 64
            assert len(found.stream) <= 64
        case Ping():
            assert found.health is None or len(found.health) <= 20
            _storable(found.health)
        case DeviceMessage():
            assert found.seq >= 1
            assert timedelta(days=-401) < found.at - NOW <= timedelta(minutes=1)
            _storable(dict(found.data))
        case BrokenMessage():
            assert found.seq >= 1
            assert 0 < len(found.reason) <= 500
            assert found.reason.isprintable()


@given(_json | _nearly())
def test_any_json_is_a_frame_that_was_checked_or_no_protocol(value: Any) -> None:
    try:
        found = frame(value)
    except NotProtocol:
        return
    _check(found)


@given(st.text() | st.text(alphabet='{}[]",:0123456789eE+-.NaInfity\\u\x00'))
def test_any_text_is_a_frame_or_no_protocol(text: str) -> None:
    try:
        found = read_frame(text, NOW)
    except NotProtocol:
        return
    _check(found)


@given(st.lists(_nearly() | _json, max_size=4), _json)
def test_any_body_of_messages_is_checked_or_no_protocol(messages: list[Any], health: Any) -> None:
    body = {"agent": "1", "stream": "s", "health": health, "messages": messages}
    try:
        found = read_posted(json.dumps(body).encode("utf-8", "surrogatepass"), NOW)
    except NotProtocol:
        return
    for one in found.messages:
        _check(one)


@given(st.binary())
def test_any_bytes_are_a_body_or_no_protocol(body: bytes) -> None:
    with pytest.raises(NotProtocol):
        read_posted(body, NOW)


def test_a_hello_is_read() -> None:
    assert frame(HELLO) == Hello("1.2.3", "s-1", 4)
    assert frame(HELLO | {"running": None, "more": 1}) == Hello("1.2.3", "s-1", None)


@pytest.mark.parametrize(
    "change",
    [
        {"protocol": 2}, {"protocol": True}, {"protocol": "1"}, {"agent": ""}, {"agent": "1 2"},
        {"agent": "1\n"}, {"agent": "x" * 65}, {"stream": "a/b"}, {"stream": "ä"}, {"stream": None},
        {"stream": "x" * 65}, {"running": 0}, {"running": 1.5}, {"running": True}, {"running": 2**53},
    ],
)  # fmt: skip
def test_a_hello_that_breaks_a_rule_is_no_protocol(change: dict[str, Any]) -> None:
    with pytest.raises(NotProtocol):
        frame(HELLO | change)


@pytest.mark.parametrize("seq", [None, 0, -1, 1.0, "1", True, 2**53])
def test_a_message_without_its_number_is_no_protocol(seq: Any) -> None:
    with pytest.raises(NotProtocol):
        message("log", GOOD["log"], seq=seq)


def test_health_keeps_what_it_can() -> None:
    health = {
        "memory": 1, "load": 0.5, "place": "hall\n3" + "x" * 300, "huge": 10**30, "on": True,
        "list": [1], "": 1, "\x00": 1, "n" * 65: 1,
    }  # fmt: skip
    found = frame({"type": "ping", "health": health})
    assert isinstance(found, Ping)
    assert found.health is not None
    assert dict(found.health) == {
        "memory": 1, "load": 0.5, "place": "hall\\n3" + "x" * 192 + "…",
    }  # fmt: skip
    many = frame({"type": "ping", "health": {f"n{n}": n for n in range(50)}})
    assert isinstance(many, Ping)
    assert many.health is not None
    assert len(many.health) == 20


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"type":"message","seq":7,"kind":"log","at":1,"data":{"x":Infinity}}', "JSON"),
        ('{"type":"message","seq":7,"kind":"log","at":1,"data":{"x":"\\ud800"}}', "JSON"),
        ('{"type":"message","seq":7,"kind":"log","at":1,"data":{"x":1,"x":2}}', "twice"),
        (
            '{"type":"message","seq":7,"kind":"log","at":1,"data":' + "[" * 70 + "]" * 70 + "}",
            "deeper",
        ),
    ],
)
def test_json_that_parsers_read_differently_is_a_broken_message(text: str, words: str) -> None:
    found = read_frame(text, NOW)
    assert isinstance(found, BrokenMessage)
    assert found.seq == 7
    assert words in found.reason


def test_a_posted_body_is_read_and_one_bad_message_spoils_no_other() -> None:
    good = {"seq": 1, "kind": "log", "at": NOW_MS, "data": GOOD["log"]}
    bad = {"seq": 2, "kind": "log", "at": math.inf, "data": GOOD["log"]}
    body = {
        "agent": "1.0", "stream": "s", "running": None, "health": {"a": 1}, "messages": [good, bad],
    }  # fmt: skip
    found = read_posted(json.dumps(body).encode(), NOW)
    assert found == Posted(
        Hello("1.0", "s", None),
        {"a": 1},
        [DeviceMessage(1, MessageKind.LOG, NOW, GOOD["log"]), found.messages[1]],
    )
    assert isinstance(found.messages[1], BrokenMessage)
    with pytest.raises(NotProtocol, match="at most 1000"):
        read_posted(json.dumps(body | {"messages": [good] * 1001}).encode(), NOW)
    with pytest.raises(NotProtocol, match="at most 1048576"):
        read_posted(b" " * (1024 * 1024 + 1), NOW)


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [
        ('{"lines": [], "lines": []}', "a key occurs twice"),
        ('{"lines": [{"at": 0, "level": "info", "text": "a", "text": "b"}]}', "a key occurs twice"),
        ('{"lines": [], "more": 1e999}', "its JSON cannot be used"),
        ('{"lines": ["\\ud800"]}', "surrogate"),
        (f'{{"lines": {"[" * 70}{"]" * 70}}}', "nested deeper than 64"),
        (f'{{"lines": {"[" * 700}{"]" * 700}}}', "nested deeper than 64"),
    ],
)
def test_a_posted_message_that_parsers_read_differently_is_broken_alone(
    spoilt: str, words: str
) -> None:
    messages = [
        f'{{"seq": {seq}, "kind": "log", "at": {NOW_MS}, "data": {data}}}'
        for seq, data in ((1, '{"lines": []}'), (2, spoilt), (3, '{"lines": []}'))
    ]
    body = f'{{"agent": "1", "stream": "s", "running": null, "messages": [{", ".join(messages)}]}}'
    before, broken, after = read_posted(body.encode(), NOW).messages
    assert isinstance(before, DeviceMessage)
    assert isinstance(after, DeviceMessage)
    assert isinstance(broken, BrokenMessage)
    assert broken.seq == 2
    assert words in broken.reason
