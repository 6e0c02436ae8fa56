"""What happened to a deployment, as its history keeps it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from model_deployment.core.domain import State
from model_deployment.core.names import ModelKey


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a deployment."""

    at: datetime
    state: State
    reason: str
    previous: State | None = None
    launch_id: str | None = None
    #: Number of the replica that it happened to.
    replica: int | None = None


class Note(Protocol):
    """Writes a text among the events of a deployment, and into the log with a level of :mod:`logging`."""

    def __call__(self, key: ModelKey, text: str, *, level: int = ...) -> None: ...


def by_user(reason: str, user: str) -> str:
    """A reason with the user who asked, if there is one."""
    return f"{reason} by {user}" if user else reason
