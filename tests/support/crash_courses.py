"""Courses of events in which a controller is killed at every point, one after the other.

A point lies before and after each commit and each effect on a process. The new controller starts
from what the old one left, and has to bring about what is wished.
"""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import count

from hypothesis import settings

from model_deployment.core.actions import Policy
from model_deployment.core.domain import State
from model_deployment.core.names import ModelKey
from tests.support.simulation import Simulation, simulation

A, B, C, D, E = (ModelKey(name, 1) for name in "abcde")
POLICY = Policy(tries=3, drain_timeout=2)
NIGHTLY = settings().max_examples > 1000
#: Of the numbers of points. A controller that is killed before an effect leaves what one leaves that is
#: killed after the effect before that; in the night both are.
STEP = 1 if NIGHTLY else 2
#: Far more ticks than any course takes; reaching it means that the course never ends.
TICKS = 30


@dataclass(frozen=True)
class Course:
    """How things stand, what happens then, and what is wished at its end."""

    before: Callable[[Simulation], Awaitable[None]]
    work: Callable[[Simulation], Awaitable[None]]
    wanted: frozenset[ModelKey]
    #: Points there are at least: a course that has fewer no longer does what it did.
    points: int
    #: The runtime holds ports.
    holding: bool = False
    #: Of the pool.
    ports: int = 4


def points() -> Iterator[int]:
    """The numbers of the points to try, without end."""
    return count(STEP, STEP)


async def reach(sim: Simulation, key: ModelKey, *states: State, seconds: float = 0.1) -> None:
    """Tick until a row is in one of these states; its processes load as fast as they can."""
    for _ in range(TICKS):
        await sim.tick(seconds)
        for process in sim.machine.live:
            sim.machine.load(process)
        if (await sim.row(key)).state in states:
            return
    raise AssertionError(f"{await sim.row(key)} is not {states}")


async def crashed(course: Course, first: int, second: int = 0) -> tuple[bool, bool]:
    """Play a course with a crash at a point of it, and one at a point of the recovery.

    Returns:
        Whether the course, and the recovery, have so many points.
    """
    with simulation(POLICY, ports=course.ports, holding=course.holding) as sim:

        async def recovery() -> None:
            await sim.start()
            await sim.tick()

        await sim.start()
        await course.before(sim)
        reached = await sim.crashes(lambda: course.work(sim), first)
        again = False
        if reached:
            again = await sim.crashes(recovery, second)
            if again:
                await sim.start()
            await sim.settle(course.wanted, {A, B, C, D, E} - course.wanted)
        await sim.gone()
        return reached, again
