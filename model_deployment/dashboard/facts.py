"""Facts about the controller and its machine, which stand above the rows of the overview. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from model_deployment.core.measures import MachineMemory
from model_deployment.dashboard import environment_lines
from model_deployment.dashboard.activity import Activity
from model_deployment.rendering import numbers
from model_deployment.telemetry.prometheus import DeploymentSnapshot, Snapshot


@dataclass(frozen=True, slots=True)
class MemoryBar:
    """The memory of the machine, as text and in percent of its total."""

    free: str
    total: str
    models: str
    models_percent: int
    used_percent: int
    #: So little is free that few models have room.
    scarce: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """The controller and its machine as a whole."""

    ports_free: int | None
    ports_size: int
    ports: str
    ports_blocked: int
    database: bool
    stuck: bool
    store: str
    store_waiting: str
    #: Why the store cannot be read.
    store_unreadable: str
    store_lost: int
    #: Why the registry does not answer; empty if it does, None before the first check.
    registry: str | None
    #: Of all deployments together, now.
    rate: str = "0"
    model_error_rate: str = ""
    memory: MemoryBar | None = None
    #: What warm parents and environments of models take: together, and each.
    environments: str = ""
    environment_lines: Sequence[str] = ()


def facts(
    seen: Snapshot, activity: Activity, registry: str | None, store: str, stuck_after: float
) -> Facts:
    ports, captures = seen.ports, seen.captures
    figures = [activity.of(one.row.key) for one in seen.deployments]
    failed = sum(one.model_error_rate for one in figures)
    return Facts(
        ports_free=ports.free if ports else None,
        ports_size=ports.size if ports else 0,
        ports=f"{ports.first}\u2013{ports.last}" if ports else "",
        ports_blocked=len(ports.blocked) if ports else 0,
        database=seen.database,
        stuck=seen.idle > stuck_after,
        store=captures.error,
        store_waiting=numbers.size(captures.spool_bytes) if captures.error else "",
        store_unreadable=store,
        store_lost=captures.dropped + captures.dead,
        registry=registry,
        rate=numbers.number(round(sum(one.rate for one in figures), 1)),
        model_error_rate=numbers.number(round(failed, 2)) if failed else "",
        memory=memory_bar(seen.machine, _models_memory(seen.deployments)) if seen.machine else None,
        environments=environment_lines.summary(seen.parents, seen.environments),
        environment_lines=environment_lines.lines(seen.parents, seen.environments),
    )


def _models_memory(deployments: Iterable[DeploymentSnapshot]) -> int:
    measured = [one.memory for one in deployments if one.memory is not None]
    return sum(one.pss or one.rss for one in measured)


def memory_bar(machine: MachineMemory, models: int) -> MemoryBar:
    """
    Args:
        models: bytes that the processes of all models take.
    """
    used = max(0, machine.total - machine.available)
    used_percent = round(100 * used / max(1, machine.total))
    return MemoryBar(
        free=numbers.size(machine.available),
        total=numbers.size(machine.total),
        models=numbers.size(models),
        models_percent=min(used_percent, round(100 * models / max(1, machine.total))),
        used_percent=used_percent,
        scarce=machine.available < 0.1 * machine.total,
    )
