"""What the service can be told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Priority(StrEnum):
    """How much processor time a run gets while others want it."""

    IDLE = "idle"
    """Only time that nobody else wants: the scheduling policy SCHED_IDLE, see sched(7)."""
    LOW = "low"
    """A tenth: nice 10."""
    NORMAL = "normal"


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    host: str = "127.0.0.1"
    """The address on which Prefect's API listens."""
    port: int = 0
    """0: a free one."""
    auth: str = ""
    """User and password of the API, with a colon between; empty: random ones."""
    database: str = ""
    """URL of Prefect's database, ``postgresql+asyncpg://…``; empty: SQLite in the data directory."""
    idle_timeout: float = 900.0
    """Seconds without a run after which the service ends; 0: never."""
    priority: Priority = Priority.IDLE
    threads: int = 0
    """Threads that the libraries of a run may use; 0: one less than the processors, at least one."""
