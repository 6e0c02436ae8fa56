"""The bodies of answers about the launches that a deployment has now."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from model_deployment.api.examples import example
from model_deployment.core.domain import Deployment, Handle, Launch, LaunchRole, LaunchState, Step
from model_deployment.core.measures import Memory
from model_deployment.core.replica_counts import replica_counts
from model_deployment.runtime.base import Identify


@dataclass(frozen=True, slots=True)
class LaunchFigures:
    """What was measured of the launches of a deployment, by their ids."""

    memory: Mapping[str, Memory] = field(default_factory=dict)
    in_flight: Mapping[str, int] = field(default_factory=dict)

    def total(self, kind: str) -> int | None:
        """The sum of one kind of memory (``rss``, ``pss``), in bytes; None if nothing was measured."""
        known = [getattr(one, kind) for one in self.memory.values()]
        found = [value for value in known if value is not None]
        return sum(found) if found else None


NOT_MEASURED = LaunchFigures()


class ReplicasOut(BaseModel):
    """The launches of a deployment that serve."""

    model_config = example({"wanted": 3, "ready": 2})

    wanted: int = Field(
        description="Launches that are to serve now, within `options.replicas`; 0 while the deployment is "
        "parked or stopped."
    )
    ready: int = Field(description="Launches that answer requests.")

    @classmethod
    def of(cls, row: Deployment) -> "ReplicasOut":
        counts = replica_counts(row)
        return cls(wanted=counts.wanted, ready=counts.ready)


LAUNCH_EXAMPLE = {
    "replica": 0, "role": "serving", "state": "ready", "step": None, "reason": "healthy",
    "since": "2026-01-31T12:00:05Z", "ready_at": "2026-01-31T12:00:05Z", "launch_id": "6b1c0f9e2d",
    "port": 8001, "address": "127.0.0.1:8001", "pid": 4242, "container": None, "image": None,
    "threads": 2, "tries": 0, "current": True, "memory": 29_000_000, "in_flight": 2,
}  # fmt: skip


class CurrentLaunchOut(BaseModel):
    """A launch that a deployment has now, or waits for."""

    model_config = example(LAUNCH_EXAMPLE)

    replica: int = Field(
        description="Number of the replica, from 0; unique among those that serve."
    )
    role: LaunchRole = Field(
        description="`serving`: a replica. `coming`: has the options of a change, and serves once it has "
        "proved them. `retiring`: gets no new requests, finishes those that it has, and ends."
    )
    state: LaunchState = Field(
        description="`pending`: wanted, without processes yet. `starting`: has not answered a health check "
        "yet. `ready`: answers requests. `stopping`: its processes are ending."
    )
    step: Step | None = Field(
        description="While it is stopping: `drain` its requests may finish, `terminate` its processes were "
        "asked to end, `kill` they are killed; else null."
    )
    reason: str = Field(description="Reason of the state.")
    since: datetime = Field(description="When it entered the state.")
    ready_at: datetime | None = Field(description="Since when it answers; null if it does not.")
    launch_id: str | None = Field(
        description="Names its processes and its log; null while it is pending."
    )
    port: int | None = Field(description="Null while it has none, or where it needs none.")
    address: str | None = Field(
        description="Host and port that it listens on; null while it has none, and for a Unix socket."
    )
    pid: int | None = Field(description="Its process; null while it has none, and for a container.")
    container: str | None = Field(description="Its container; null for a process.")
    image: str | None = Field(description="The image of its container; null for a process.")
    threads: int | None = Field(
        description="Threads that each of its worker processes computes with; null while it has no "
        "process, and for one of an earlier release."
    )
    tries: int = Field(description="Failures in a row.")
    current: bool = Field(
        description="Whether it has the options and the artifacts that the deployment has now."
    )
    memory: int | None = Field(
        description="Bytes of memory of its processes, shared memory divided among those that share it; "
        "null in lists of deployments, and where it cannot be read."
    )
    in_flight: int | None = Field(
        description="Requests that it has not answered; null in lists of deployments."
    )

    @classmethod
    def of(
        cls, row: Deployment, launch: Launch, identify: Identify, figures: LaunchFigures
    ) -> "CurrentLaunchOut":
        handle, id = launch.handle, launch.launch_id or ""
        memory = figures.memory.get(id)
        return cls(
            replica=launch.replica,
            role=launch.role,
            state=launch.state,
            step=launch.step,
            reason=launch.reason,
            since=launch.since,
            ready_at=launch.ready_at if launch.state is LaunchState.READY else None,
            launch_id=launch.launch_id,
            port=launch.port,
            address=_address(handle),
            **identity_of(handle, identify),
            tries=launch.tries,
            current=launch.generation == row.generation,
            memory=(memory.pss or memory.rss) if memory else None,
            in_flight=figures.in_flight.get(id),
        )


def current_launches(
    row: Deployment, identify: Identify, figures: LaunchFigures
) -> list[CurrentLaunchOut]:
    """All of a deployment, by role and number."""
    return [CurrentLaunchOut.of(row, one, identify, figures) for one in row.launches]


def identity_of(handle: Handle | None, identify: Identify) -> dict[str, Any]:
    """The members ``pid``, ``container``, ``image`` and ``threads`` of an answer."""
    found: Mapping[str, str | int] = identify(handle) if handle is not None else {}
    return {name: found.get(name) for name in ("pid", "container", "image", "threads")}


def _address(handle: Handle | None) -> str | None:
    if handle is None or handle.address.path:
        return None
    host, port = handle.address.host, handle.address.port
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
