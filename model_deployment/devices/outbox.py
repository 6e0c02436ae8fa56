"""What is to be sent to a device. Of what changes only the newest waits: a slow device takes no memory."""

import time
from dataclasses import dataclass
from typing import Any

import orjson

from model_deployment.core.devices import Device, DeviceCommand
from model_deployment.core.releases import Release
from model_deployment.devices.frames import PROTOCOL


def welcome_frame(device: Device, project: str) -> str:
    """The first frame to a device."""
    return _frame(
        "welcome",
        protocol=PROTOCOL,
        generation=device.generation,
        received=device.received,
        time=time.time_ns() // 1_000_000,
        device=device.name,
        project=project,
    )


def signed_release(release: Release | None, key: str) -> dict[str, str] | None:
    """A release as devices get it; ``key`` is the id of the key that signed it."""
    if release is None:
        return None
    return {"manifest": release.manifest, "signature": release.signature, "key": key}


def desired_frame(release: Release | None, key: str) -> str:
    return _frame("desired", release=signed_release(release, key))


def command_frame(command: DeviceCommand) -> str:
    return _frame("command", id=command.id, name=command.name, value=command.value)


def bye_frame(reason: str) -> str:
    return _frame("bye", reason=reason)


_PONG = '{"type":"pong"}'


@dataclass(slots=True)
class Outgoing:
    """A frame, and the command that it has."""

    text: str
    command: int | None = None


class SessionOutbox:
    def __init__(self) -> None:
        self._welcome: str | None = None
        self._acknowledged: int | None = None
        self._desired: str | None = None
        self._commands: dict[int, str] = {}
        self._pong = False

    def welcome(self, frame: str) -> None:
        self._welcome = frame

    def acknowledge(self, seq: int) -> None:
        self._acknowledged = seq

    def desire(self, frame: str) -> None:
        self._desired = frame

    def command(self, id: int, frame: str) -> None:
        self._commands[id] = frame

    def keep_commands(self, ids: set[int]) -> None:
        """Drop commands that others have replaced."""
        self._commands = {id: frame for id, frame in self._commands.items() if id in ids}

    def pong(self) -> None:
        self._pong = True

    def next(self) -> Outgoing | None:
        """Take the frame that is to be sent next; None if there is none."""
        if self._welcome is not None:
            frame, self._welcome = self._welcome, None
            return Outgoing(frame)
        if self._acknowledged is not None:
            seq, self._acknowledged = self._acknowledged, None
            return Outgoing(_frame("ack", seq=seq))
        if self._pong:
            self._pong = False
            return Outgoing(_PONG)
        if self._desired is not None:
            frame, self._desired = self._desired, None
            return Outgoing(frame)
        if self._commands:
            id = next(iter(self._commands))
            return Outgoing(self._commands.pop(id), id)
        return None


def _frame(kind: str, **members: Any) -> str:
    return orjson.dumps({"type": kind, **members}).decode()
