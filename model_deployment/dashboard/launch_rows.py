"""The launches that a deployment has now, as its page lists them. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from model_deployment.core.domain import Deployment, Handle, LaunchRole, LaunchState
from model_deployment.core.replica_counts import replica_counts
from model_deployment.rendering import numbers
from model_deployment.runtime.base import THREADS, Identify
from model_deployment.telemetry.prometheus import LaunchSnapshot

#: Characters of the id of a container that are shown, as ``docker ps`` has them.
_CONTAINER = 12
#: What a role means, where it is not that of a replica.
_ROLES = {
    LaunchRole.COMING: "has to prove a change",
    LaunchRole.RETIRING: "finishes its requests",
}


@dataclass(frozen=True, slots=True)
class LaunchRow:
    """A line of the table."""

    replica: int
    #: What it does beside the replicas; empty for a replica.
    role: str
    state: str
    reason: str
    since: datetime
    launch_id: str
    #: A process or a container; empty while nothing runs.
    runs: str
    #: The whole id of a container, and its image.
    detail: str
    port: int | None
    #: That each worker process computes with; empty while nothing runs, and where it is unknown.
    threads: str
    memory: str
    #: Requests that it has not answered; empty while nothing runs.
    in_flight: str
    #: It failed, and is tried again.
    failing: bool


def launch_rows(launches: Iterable[LaunchSnapshot], identify: Identify) -> list[LaunchRow]:
    return [_row(one, identify) for one in launches]


def worth_a_table(row: Deployment, found: Sequence[LaunchRow]) -> bool:
    """Whether the figures of the page do not say it all: there are several launches, or containers."""
    return len(found) > 1 or replica_counts(row).wanted > 1 or any(one.detail for one in found)


def replicas_shown(row: Deployment) -> str:
    """How many replicas serve of those that are to, ``2/3``; empty where one is meant and one serves."""
    counts = replica_counts(row)
    return f"{counts.ready}/{counts.wanted}" if max(counts.wanted, counts.ready) > 1 else ""


def threads_shown(handle: Handle | None, identify: Identify) -> str:
    """The threads that each worker process of a launch computes with; empty where that is unknown."""
    return str(identify(handle).get(THREADS, "")) if handle is not None else ""


def _row(one: LaunchSnapshot, identify: Identify) -> LaunchRow:
    launch = one.launch
    known = identify(launch.handle) if launch.handle is not None else {}
    container, image = str(known.get("container", "")), str(known.get("image", ""))
    pid = known.get("pid", "")
    memory = (one.memory.pss or one.memory.rss) if one.memory else None
    return LaunchRow(
        replica=launch.replica,
        role=_ROLES.get(launch.role, ""),
        state=str(launch.state),
        reason="" if launch.reason == "healthy" else launch.reason,
        since=launch.since,
        launch_id=launch.launch_id or "",
        runs=f"container {container[:_CONTAINER]}"
        if container
        else f"process {pid}"
        if pid
        else "",
        detail=f"{container}{f' of {image}' if image else ''}",
        port=launch.port,
        threads=threads_shown(launch.handle, identify),
        memory=numbers.size(memory),
        in_flight=str(one.in_flight) if launch.is_live else "",
        failing=launch.tries > 0 and launch.state is not LaunchState.READY,
    )
