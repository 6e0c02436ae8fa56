"""Whatever happens in whatever order: the checks of every tick hold, and wishes come true in the end.

Controllers are killed between any two effects, also during their recovery; wishes arrive in the
middle of ticks; machines reboot. The checks are in ``tests/support/invariants.py``,
and in ``settling.py`` beside it.
"""

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from model_deployment.core.actions import Policy
from model_deployment.core.measures import LaunchTraffic
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options, StartMethod, Validation
from model_deployment.core.replacement import Strategy
from model_deployment.core.replicas import Replicas
from tests.support.fake_machine import EACH, FakeMachine, Process
from tests.support.loop_machine import LoopMachine
from tests.support.simulation import FIRST, PLAIN, Simulation, simulation

pytestmark = pytest.mark.slow

KEYS = [ModelKey(name, 1) for name in "abcd"]
PORTS = 8
OTHER = Options(workers=3, batch_max_rows=64)
#: Several launches, and as many as requests need.
SEVERAL = Options(replicas=Replicas(3, 3), batch_max_rows=0)
RANGE = Options(replicas=Replicas(1, 3), batch_max_rows=0, validation=Validation.OBSERVE)
#: Without a port of the pool.
CONTAINED = Options(start_method=StartMethod.CONTAINER, replicas=Replicas(2, 2), batch_max_rows=0)
#: It may be parked after a while.
IDLE = Options(idle_timeout=3)
#: Shorter than the real ones, so that a few ticks get past any of them.
POLICY = Policy(start_timeout=20, drain_timeout=10, stop_grace=3, backoff_limit=8, stable_after=10)

Work = Callable[[], Awaitable[object]]
FATES: dict[str, Callable[[FakeMachine, Process], object]] = {
    "loads": lambda machine, process: machine.load(process),
    "wedges": lambda machine, process: machine.wedge(process),
    "exits": lambda machine, process: machine.end(process, 1),
    "is killed": lambda machine, process: machine.end(process, -9),
    "is stopped": lambda machine, process: setattr(process, "stopped", True),
    "ignores SIGTERM": lambda machine, process: setattr(process, "stubborn", True),
}
TRAFFIC = {
    "none": LaunchTraffic(),
    "busy": LaunchTraffic(in_flight=2, oldest=1.0),
    "unanswered": LaunchTraffic(in_flight=1, oldest=99.0),
    "timing out": LaunchTraffic(timeouts_in_row=9),
    "over for a moment": LaunchTraffic(idle=1.0),
    "over for long": LaunchTraffic(idle=9.0),
    "to come": LaunchTraffic(reading=1),
}

keys = st.sampled_from(KEYS)
seconds = st.sampled_from([0.0, 0.5, 1.0, 3.0, 10.0, 40.0])
points = st.integers(1, 16)
numbers = st.integers(0, PORTS - 1)
wishes = (
    st.tuples(st.just("deploy"), keys)
    | st.tuples(st.just("undeploy"), keys)
    | st.tuples(st.just("deploy"), keys, st.just(OTHER), st.sampled_from(["registered", "anew"]))
    | st.tuples(st.just("deploy"), keys, st.sampled_from([IDLE, SEVERAL, CONTAINED]))
    | st.tuples(st.just("scale"), keys, st.integers(1, 3))
    | st.tuples(st.just("request"), keys)
    | st.tuples(st.just("park"), keys)
    | st.tuples(
        st.just("change"),
        keys,
        st.sampled_from(
            [
                OTHER,
                IDLE,
                SEVERAL,
                RANGE,
                CONTAINED,
                Options(workers=2, batch_max_rows=0),
                PLAIN,
            ]
        ),
        st.sampled_from([*Strategy]),
    )
)
works = wishes | st.tuples(st.sampled_from(["tick", "shut_down"]))


class Controllers(LoopMachine):
    """Controllers on one machine."""

    simulation: Simulation

    def work(self, name: str, *arguments: object) -> Work:
        """A method of the simulation, by its name."""
        return lambda: getattr(self.simulation, name)(*arguments)

    @initialize(
        ports=st.sampled_from([3, 6, PORTS]),
        starts=st.integers(1, 4),
        prompt=st.booleans(),
        holding=st.booleans(),
    )
    def begin(self, ports: int, starts: int, prompt: bool, holding: bool) -> None:
        self.simulation = self.ends.enter_context(
            simulation(POLICY, ports=ports, start_concurrency=starts, holding=holding)
        )
        self.simulation.machine.prompt = prompt
        self.do(self.simulation.start())

    @rule(wish=wishes)
    def wish(self, wish: tuple[Any, ...]) -> None:
        self.do(self.work(*wish)())

    @rule(pause=seconds)
    def tick(self, pause: float) -> None:
        self.do(self.simulation.tick(pause))

    @rule(wish=wishes, point=points)
    def tick_with_a_wish_in_the_middle(self, wish: tuple[Any, ...], point: int) -> None:
        self.simulation.steps.arm(point, self.work(*wish))
        self.do(self.simulation.tick())
        self.simulation.steps.disarm()

    @precondition(lambda self: self.simulation.machine.live)
    @rule(number=numbers, fate=st.sampled_from([*FATES]))
    def process(self, number: int, fate: str) -> None:
        live = self.simulation.machine.live
        FATES[fate](self.simulation.machine, live[number % len(live)])

    @precondition(lambda self: self.simulation.machine.live)
    @rule(number=numbers, traffic=st.sampled_from([*TRAFFIC]))
    def requests(self, number: int, traffic: str) -> None:
        live = self.simulation.machine.live
        self.simulation.traffic[live[number % len(live)].launch_id] = TRAFFIC[traffic]

    @rule(number=numbers)
    def stranger_comes(self, number: int) -> None:
        self.simulation.machine.squat(FIRST + number)

    @rule(number=numbers)
    def stranger_goes(self, number: int) -> None:
        self.simulation.machine.strangers.pop(FIRST + number, None)

    @rule(places=st.integers(0, PORTS))
    def memory(self, places: int) -> None:
        self.simulation.machine.memory = places * EACH

    @rule(broken=st.booleans())
    def registry(self, broken: bool) -> None:
        error = ConnectionError("the registry does not answer")
        self.simulation.machine.prepare_error = error if broken else None

    @rule(broken=st.booleans())
    def fork(self, broken: bool) -> None:
        error = OSError(11, "Resource temporarily unavailable")
        self.simulation.machine.start_error = error if broken else None

    @precondition(lambda self: self.simulation.machine.held)
    @rule(for_good=st.booleans())
    def holder_dies(self, for_good: bool) -> None:
        """The models live on, and listen on their own."""
        self.simulation.machine.held.clear()
        self.simulation.machine.holding = not for_good

    @rule(work=works, point=points, again=points, away=seconds)
    def crash(self, work: tuple[Any, ...], point: int, again: int, away: float) -> None:
        async def come_back() -> None:
            self.simulation.machine.advance(away)
            await self.simulation.start()
            await self.simulation.tick()

        async def run() -> None:
            gone = await self.simulation.crashes(self.work(*work), point) or work == ("shut_down",)
            if gone and await self.simulation.crashes(come_back, again):
                await come_back()

        self.do(run())

    @rule(work=works, point=points)
    def disk_full(self, work: tuple[Any, ...], point: int) -> None:
        async def fail() -> None:
            if (
                self.simulation.steps.name.startswith("before ")
                and "." in self.simulation.steps.name
            ):
                raise sqlite3.OperationalError("database or disk is full")

        async def run() -> None:
            self.simulation.steps.arm(point, fail)
            with suppress(sqlite3.OperationalError):
                await self.work(*work)()
            self.simulation.steps.disarm()
            if work == ("shut_down",):
                await self.simulation.start()
            await self.simulation.check()

        self.do(run())

    @rule()
    def reboot(self) -> None:
        self.do(self.simulation.gone())
        self.simulation.machine.reboot()
        self.do(self.simulation.start())

    def teardown(self) -> None:
        with self.ends:
            if self.healthy and hasattr(self, "simulation"):
                self.do(self.simulation.settle(wanted=KEYS[::2], unwanted=KEYS[1::2]))
            if hasattr(self, "simulation"):
                self.do(self.simulation.gone())


TestControllers = pytest.mark.timeout(1800)(Controllers.TestCase)
TestControllers.settings = settings(
    stateful_step_count=50, max_examples=max(10, settings().max_examples // 2)
)
