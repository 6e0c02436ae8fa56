"""Reads what devices send, and checks all of it: frames, and bodies of ``POST messages``. Pure.

docs/reference/device-protocol.md is the contract. What breaks it at all ends the connection
(:class:`NotProtocol`). A numbered message that breaks a rule of its kind becomes a ``BrokenMessage``, since
the device would send it again for ever.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeGuard

from model_deployment.core.device_messages import BrokenMessage
from model_deployment.core.devices import DeviceMessage, MessageKind
from model_deployment.devices.message_data import (
    LARGEST,
    RuleBroken,
    clock,
    one_line,
    read_data,
    whole,
)
from model_deployment.gate import MalformedJson, loads

#: The version of the protocol.
PROTOCOL = 1
#: Bytes of a frame, and of the body of ``POST messages``.
MAX_FRAME = 1024 * 1024
#: Messages in one body of ``POST messages``.
MAX_MESSAGES = 1000
#: Members of a ping's health, characters of their names and of their texts.
_HEALTH, _HEALTH_NAME, _HEALTH_TEXT = 20, 64, 200

#: Characters that say why a message is broken.
_REASON = 500

_AGENT = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}", re.ASCII)
_STREAM = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
#: Types of frames that are no message.
_UNNUMBERED = frozenset({"hello", "ping"})


class NotProtocol(ValueError):
    """What was sent is not this protocol; the text says why. The connection ends with 4400."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The first frame of a connection."""

    #: Version of the agent.
    agent: str
    #: Names the device's store of unsent messages.
    stream: str
    #: Number of the release that it runs; None if none.
    running: int | None


@dataclass(frozen=True, slots=True)
class Ping:
    """A sign of life."""

    #: None: nothing was said of it.
    health: Mapping[str, float | str] | None


Message = DeviceMessage | BrokenMessage
Frame = Hello | Ping | Message


@dataclass(frozen=True, slots=True)
class Posted:
    """The body of ``POST messages``."""

    hello: Hello
    health: Mapping[str, float | str] | None
    messages: Sequence[Message]


def read_frame(text: str, now: datetime) -> Frame:
    """Read a frame.

    Args:
        now: when it came; what a device says of the time is compared with it.

    Raises:
        NotProtocol: it is no frame of a device.
    """
    found, flaw = _parsed(text.encode("utf-8", "surrogatepass"))
    frame = _object(found, "a frame")
    kind = frame.get("type")
    if kind == "message":
        return _message(frame, now, flaw)
    if not isinstance(kind, str) or kind not in _UNNUMBERED:
        raise NotProtocol("a frame has the type hello, message or ping")
    if flaw:
        raise NotProtocol(flaw)
    return _hello(frame) if kind == "hello" else Ping(_health(frame.get("health")))


def read_posted(body: bytes, now: datetime) -> Posted:
    """Read the body of ``POST messages``; as :func:`read_frame`.

    Raises:
        NotProtocol: it is not such a body.
    """
    if len(body) > MAX_FRAME:
        raise NotProtocol(f"the body has {len(body)} bytes; at most {MAX_FRAME} are accepted")
    found, flaw = _parsed(body)
    posted = _object(found, "the body")
    hello, health = _hello({"protocol": PROTOCOL, **posted}), _health(posted.get("health"))
    messages = posted.get("messages", [])
    if not isinstance(messages, list) or len(messages) > MAX_MESSAGES:
        raise NotProtocol(f"messages is a list of at most {MAX_MESSAGES}")
    return Posted(hello, health, [_posted_message(one, now, flaw) for one in messages])


def _posted_message(found: Any, now: datetime, flaw: str) -> Message:
    message = _object(found, "a message")
    if flaw:
        # It is in one of the messages, as a rule: the others are good.
        flaw = "a key occurs twice" if _has_twice(message) else _reread(message)
    return _message(message, now, flaw)


def _reread(message: Mapping[str, Any]) -> str:
    """Why no parser may rely on a message; empty if any may."""
    try:
        text = json.dumps(message).encode()
    except RecursionError:
        return "it is nested too deeply"
    return _parsed(text)[1]


class _Twice(dict[str, Any]):
    """An object in which a key occurs twice; the last value counts."""


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    return members if len(members) == len(pairs) else _Twice(members)


def _has_twice(found: Any) -> bool:
    """Whether a key occurs twice anywhere in it."""
    left = [found]
    while left:
        one = left.pop()
        if isinstance(one, _Twice):
            return True
        if isinstance(one, dict | list):
            left.extend(one.values() if isinstance(one, dict) else one)
    return False


def _parsed(text: bytes) -> tuple[Any, str]:
    """The JSON of a text, and why no parser may rely on it; empty if any may.

    Raises:
        NotProtocol: it is not even nearly JSON.
    """
    try:
        return loads(text), ""
    except MalformedJson as error:
        flaw = error.detail
    try:
        found = json.loads(text, object_pairs_hook=_members)
    except (ValueError, RecursionError):
        raise NotProtocol(f"it is no JSON: {flaw[:200]}") from None
    return found, f"its JSON cannot be used ({flaw[:200]})"


def _object(found: Any, what: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise NotProtocol(f"{what} is an object")
    return found


def _hello(frame: Mapping[str, Any]) -> Hello:
    if type(frame.get("protocol")) is not int or frame["protocol"] != PROTOCOL:
        raise NotProtocol(f"this controller speaks version {PROTOCOL} of the protocol")
    agent, stream, running = (frame.get(name) for name in ("agent", "stream", "running"))
    if not isinstance(agent, str) or not _AGENT.fullmatch(agent):
        raise NotProtocol("agent is a version, such as 1.0.0")
    if not isinstance(stream, str) or not _STREAM.fullmatch(stream):
        raise NotProtocol("stream is 1 to 64 of A-Z, a-z, 0-9, '_' and '-'")
    if running is not None and not _is_number(running, 1):
        raise NotProtocol("running is the number of a release, or null")
    return Hello(agent, stream, running)


def _health(found: Any) -> Mapping[str, float | str] | None:
    """What may be kept of it: one bad figure is no reason to take a device for dead."""
    if found is None:
        return None
    if not isinstance(found, dict):
        raise NotProtocol("health is an object")
    kept: dict[str, float | str] = {}
    for name, value in found.items():
        if len(kept) == _HEALTH:
            break
        if not name or len(name) > _HEALTH_NAME or not name.isprintable():
            continue
        if isinstance(value, str):
            kept[name] = one_line(value, _HEALTH_TEXT)
        elif type(value) in {int, float} and abs(value) <= LARGEST:
            kept[name] = value
    return kept


def _message(frame: Mapping[str, Any], now: datetime, flaw: str) -> Message:
    seq = frame.get("seq")
    if not _is_number(seq, 1):
        raise NotProtocol("seq is the number of a message, from 1")
    try:
        if flaw:
            raise RuleBroken(flaw)
        kind = _kind(frame.get("kind"))
        at, trusted = clock(whole(frame.get("at"), "at", -LARGEST, LARGEST), now)
        data = read_data(kind, frame.get("data"), now)
    except RuleBroken as error:
        return BrokenMessage(seq, one_line(str(error), _REASON))
    return DeviceMessage(seq, kind, at, data if trusted else {**data, "clock_off": True})


def _kind(found: Any) -> MessageKind:
    try:
        return MessageKind(found)
    except ValueError:
        raise RuleBroken(f"there is no kind {one_line(str(found), 40)!a}") from None


def _is_number(value: Any, least: int) -> TypeGuard[int]:
    return type(value) is int and least <= value <= LARGEST
