"""Replicas that follow requests: what the control loop sees, asks for, and writes."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from model_deployment.control.collaborators import Collaborators
from model_deployment.control.scaler import Scaler
from model_deployment.control.tick import Tick
from model_deployment.core.admission import Admission
from model_deployment.core.domain import (
    Deployment,
    Desired,
    Launch,
    LaunchRole,
    LaunchState,
    Rest,
    State,
)
from model_deployment.core.errors import IllegalTransition
from model_deployment.core.measures import LaunchTraffic, ProxyCounters
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options, StartMethod
from model_deployment.core.port_usage import PortUsage
from model_deployment.core.replacement import Replacement, ReplacementState, Strategy
from model_deployment.core.replicas import Replicas
from model_deployment.core.scaling import Scaling

KEY = ModelKey("diabetes", 1)
AT = datetime(2026, 1, 31, tzinfo=UTC)
MEGABYTE = 1024 * 1024


@dataclass
class Machine:
    """What a scaler sees and writes: one deployment, the proxies, ports and memory."""

    wanted: Replicas = Replicas(1, 8)
    options: Options = Options()
    replicas: int = 1
    now: float = 1000.0
    in_flight: int = 0
    answered: int = 0
    #: By launch id.
    calls: dict[str, int] = field(default_factory=dict)
    ports_free: int = 100
    memory_free: int = 10_000 * MEGABYTE
    changes: dict[str, Any] = field(default_factory=dict)
    refuse: bool = False
    written: list[tuple[int, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scaler = self.controller()

    def controller(self) -> Scaler:
        """One more controller, which remembers nothing."""
        world: Any = Collaborators(
            runtime=self,  # type: ignore[arg-type]
            prober=None,  # type: ignore[arg-type]
            prepare=None,  # type: ignore[arg-type]
            compare=None,  # type: ignore[arg-type]
            publish=lambda routes: True,
            traffic=lambda id: LaunchTraffic(answered=self.calls.get(id, 0)),
            counters=lambda key: ProxyCounters(in_flight=self.in_flight),
            answered=lambda key: self.answered,
            admission=Admission(lambda: self.memory_free, 500 * MEGABYTE, 100 * MEGABYTE, MEGABYTE),
            clock=lambda: self.now,
        )
        return Scaler(
            deployments=self,  # type: ignore[arg-type]
            ports=self,  # type: ignore[arg-type]
            world=world,
            limits=Scaling(),
            note=lambda key, text: self.notes.append(text),
        )

    def needs_port(self, options: Options) -> bool:
        return not options.contained

    async def usage(self, now: float) -> PortUsage:
        return PortUsage(8001, 8100, 100 - self.ports_free, 0, ())

    async def scale(self, row: Deployment, replicas: int, reason: str) -> Deployment:
        if self.refuse:
            raise IllegalTransition("it has changed")
        self.written.append((replicas, reason))
        self.replicas = replicas
        return self.row()

    def row(self) -> Deployment:
        launches = tuple(
            Launch(
                id=n, role=LaunchRole.SERVING, state=LaunchState.READY, options=self.options,
                artifact="a", generation=1, replica=n, since=AT, launch_id=f"launch-{n}",
            )
            for n in range(self.replicas)
        )  # fmt: skip
        plain = Deployment(
            key=KEY, desired=Desired.RUNNING, options=replace(self.options, replicas=self.wanted),
            artifact="a", created_at=AT, launches=launches, replicas=self.replicas,
        )  # fmt: skip
        return replace(plain, **self.changes)

    async def tick(self, *, closing: bool = False) -> None:
        row = self.row()
        await self.scaler.scale(Tick(rows=[row], closing=closing), row)
        self.scaler.forget(except_for=[row])

    async def run(self, seconds: int, *, rate: int = 1, merged: int = 1) -> None:
        """So many seconds with the same requests."""
        for _ in range(seconds):
            self.now += 1
            self.answered += rate
            first = self.calls.get("launch-0", 0)
            self.calls["launch-0"] = first + rate // merged
            await self.tick()


async def test_requests_that_wait_get_more_replicas() -> None:
    machine = Machine(in_flight=20)
    await machine.run(8)
    assert [count for count, _ in machine.written] == [2]
    assert machine.written[0][1] == (
        "requests wait for 19.0 s, on average 20.0 for 1 worker processes"
    )
    await machine.run(16)
    assert [count for count, _ in machine.written] == [2, 4, 8]


async def test_idle_deployment_gives_replicas_back() -> None:
    machine = Machine(replicas=4)
    await machine.run(70)
    assert machine.written == [(2, "for 60 s 2 of 4 replicas would have been enough")]
    await machine.run(70)
    assert [count for count, _ in machine.written] == [2, 1]


async def test_fixed_number_is_left_alone() -> None:
    machine = Machine(wanted=Replicas(2, 2), replicas=2, in_flight=500)
    await machine.run(200, rate=0)
    assert machine.written == []


async def test_number_outside_of_the_options_is_corrected_at_once() -> None:
    machine = Machine(wanted=Replicas(2, 4), replicas=8)
    await machine.run(1)
    assert machine.written == [(4, "replicas is 2-4")]


@pytest.mark.parametrize(
    "changes",
    [
        {"desired": Desired.STOPPED},
        {"rest": Rest(State.PARKED), "launches": ()},
        {"parking": True},
        {
            "replacement": Replacement(
                1, ReplacementState.COMING, Strategy.BESIDE, Options(), "", "", AT
            )
        },
        {
            "replacement": Replacement(
                1, ReplacementState.ROLLING, Strategy.BESIDE, Options(), "", "", AT
            )
        },
    ],
    ids=["undeployed", "parked", "parking", "changing", "rolling"],
)
async def test_nothing_is_scaled_that_is_about_to_change(changes: dict[str, Any]) -> None:
    machine = Machine(in_flight=20, changes=changes)
    await machine.run(30)
    assert machine.written == []


async def test_failed_change_of_options_stops_no_scaling() -> None:
    failed = Replacement(1, ReplacementState.FAILED, Strategy.BESIDE, Options(), "", "", AT)
    machine = Machine(in_flight=20, changes={"replacement": failed})
    await machine.run(8)
    assert [count for count, _ in machine.written] == [2]


async def test_controller_that_stops_scales_nothing() -> None:
    machine = Machine(in_flight=20)
    await machine.run(6)
    for _ in range(5):
        machine.now += 1
        await machine.tick(closing=True)
    assert machine.written == []


async def test_memory_limits_what_is_added() -> None:
    machine = Machine(in_flight=40, replicas=4, memory_free=250 * MEGABYTE)
    await machine.run(8)
    assert [count for count, _ in machine.written] == [6], (
        "each fork needs 100 MB, and 1 MB stays free"
    )
    assert machine.notes == []


async def test_lack_of_room_is_told_once() -> None:
    machine = Machine(in_flight=40, memory_free=50 * MEGABYTE)
    await machine.run(30)
    assert machine.written == []
    assert len(machine.notes) == 1, machine.notes
    assert machine.notes[0].startswith("cannot add a replica, though requests wait for 39.0 s")
    assert "50 MB are free" in machine.notes[0]
    machine.memory_free = 150 * MEGABYTE
    await machine.run(1)
    assert [count for count, _ in machine.written] == [2]


async def test_ports_limit_what_is_added() -> None:
    machine = Machine(in_flight=40, replicas=4, ports_free=1)
    await machine.run(8)
    assert [count for count, _ in machine.written] == [5]
    machine.ports_free = 0
    await machine.run(30)
    assert [count for count, _ in machine.written] == [5]
    assert [note.rpartition(": ")[2] for note in machine.notes] == ["no port is free"]


async def test_containers_need_no_ports() -> None:
    machine = Machine(
        in_flight=40, ports_free=0, options=Options(start_method=StartMethod.CONTAINER)
    )
    await machine.run(8)
    assert [count for count, _ in machine.written] == [2]


async def test_merged_requests_count_as_one() -> None:
    machine = Machine(in_flight=200)
    await machine.run(30, rate=100, merged=100)
    assert machine.written == []


async def test_launch_that_is_replaced_takes_no_calls_back() -> None:
    """Each launch counts from 0; the next one in its place has another id."""
    machine = Machine(in_flight=0, replicas=2, answered=5000, calls={"launch-0": 5000})
    await machine.run(40)
    machine.calls = {"launch-0": 0}
    await machine.run(30)
    assert [count for count, _ in machine.written] == [1], "60 s are known all the same"


async def test_change_that_was_not_written_is_asked_for_again() -> None:
    machine = Machine(in_flight=20, refuse=True)
    await machine.run(6)
    machine.now, machine.answered = machine.now + 1, machine.answered + 1
    with pytest.raises(IllegalTransition):
        await machine.tick()
    machine.refuse = False
    await machine.run(1)
    assert [count for count, _ in machine.written] == [2]


async def test_next_controller_begins_with_what_is_written() -> None:
    machine = Machine(replicas=4)
    await machine.run(50)
    machine.scaler = machine.controller()
    await machine.run(50)
    assert machine.written == []
    assert machine.replicas == 4
    await machine.run(15)
    assert machine.replicas == 2
