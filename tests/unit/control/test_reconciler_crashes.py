"""A controller killed at every point of every course of events, one point after the other.

A point lies before and after each commit and each effect on a process. The new controller starts
from what the old one left, and has to bring about what is wished. A second crash, at every point of
that recovery, changes nothing.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count

import pytest
from hypothesis import settings

from model_deployment.core.actions import Policy
from model_deployment.core.domain import LaunchTraffic, State
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from tests.support.fakes import SIGTERM
from tests.support.simulation import FIRST, Stage, stage

A, B, C, D, E = (ModelKey(name, 1) for name in "abcde")
IDLE = Options(idle_timeout=30)
POLICY = Policy(tries=3, drain_timeout=2)
#: Far more ticks than any course takes; reaching it means that the course never ends.
TICKS = 30


@dataclass(frozen=True)
class Course:
    """How things stand, what happens then, and what is wished at its end."""

    before: Callable[[Stage], Awaitable[None]]
    work: Callable[[Stage], Awaitable[None]]
    wanted: frozenset[ModelKey]
    #: Points there are at least: a course that has fewer no longer does what it did.
    points: int
    #: The runtime holds ports.
    holding: bool = False


async def reach(on: Stage, key: ModelKey, *states: State, seconds: float = 0.1) -> None:
    """Tick until a row is in one of these states; its processes load as fast as they can."""
    for _ in range(TICKS):
        await on.tick(seconds)
        for process in on.machine.live:
            on.machine.load(process)
        if (await on.row(key)).state in states:
            return
    raise AssertionError(f"{await on.row(key)} is not {states}")


async def nothing(on: Stage) -> None:
    """An empty state."""


async def ready(on: Stage) -> None:
    await on.ready(A, B)


async def idle(on: Stage) -> None:
    """One that may be parked, and one that is."""
    for key in (A, C):
        await on.deploy(key, IDLE)
        await reach(on, key, State.READY)
    await rest(on, C)


async def rest(on: Stage, key: ModelKey) -> None:
    on.traffic[(await on.row(key)).launch_id or ""] = LaunchTraffic(idle=60)
    await reach(on, key, State.PARKED)


async def stubborn(on: Stage) -> None:
    await on.ready(A, B)
    (await on.process(A)).stubborn = True
    on.traffic[(await on.row(A)).launch_id or ""] = LaunchTraffic(in_flight=1, oldest=2.0)


async def deploy(on: Stage) -> None:
    await on.deploy(A)
    await reach(on, A, State.READY)


async def undeploy(on: Stage) -> None:
    await on.undeploy(A)
    await reach(on, A, State.STOPPED, seconds=10)


async def undeploy_while_starting(on: Stage) -> None:
    await on.deploy(C)
    await reach(on, C, State.STARTING)
    await on.undeploy(C)
    await reach(on, C, State.STOPPED, seconds=1)


async def redeploy_while_stopping(on: Stage) -> None:
    await on.undeploy(A)
    await reach(on, A, State.STOPPING)
    await on.deploy(A)
    await reach(on, A, State.READY, seconds=10)


async def death(on: Stage) -> None:
    on.machine.end(await on.process(A), 1)
    await reach(on, A, State.PENDING)
    await reach(on, A, State.READY, seconds=1)


async def holder_dies(on: Stage) -> None:
    """And a stranger takes one of the ports."""
    for key in (A, B):
        on.machine.end(await on.process(key), 1)
        await reach(on, key, State.PENDING)
    on.machine.held.clear()
    on.machine.squat(FIRST)
    await reach(on, A, State.READY, seconds=1)
    await reach(on, B, State.READY, seconds=1)
    assert [(await on.row(key)).port for key in (A, B)] == [FIRST + 2, FIRST + 1]


async def park(on: Stage) -> None:
    await rest(on, A)


async def wake_while_parking(on: Stage) -> None:
    on.traffic[(await on.row(A)).launch_id or ""] = LaunchTraffic(idle=60)
    await reach(on, A, State.STOPPING)
    await on.request(A)
    await on.request(C)
    await reach(on, A, State.READY)
    await reach(on, C, State.READY)


async def take_its_port(on: Stage) -> None:
    """There are four ports, for the two that never park, and three that do."""
    await on.deploy(B)
    await on.deploy(D)
    await on.deploy(C)
    for key in (B, D, C):
        await reach(on, key, State.READY)
    on.traffic[(await on.row(A)).launch_id or ""] = LaunchTraffic(idle=1)
    await on.deploy(E, IDLE)
    await reach(on, E, State.READY)
    assert (await on.row(A)).state is State.PARKED


async def failure(on: Stage) -> None:
    on.machine.start_error = OSError(12, "Cannot allocate memory")
    await on.deploy(C)
    await reach(on, C, State.FAILED, seconds=10)


async def strangers(on: Stage) -> None:
    for number in range(2, 4):
        on.machine.squat(FIRST + number)
    await on.deploy(C)
    await on.tick()
    await on.tick()
    assert (await on.row(C)).port is None
    on.machine.strangers.clear()
    await reach(on, C, State.READY, seconds=10)


async def shut_down(on: Stage) -> None:
    await on.shut_down()
    await on.start()


async def restart(on: Stage) -> None:
    """With a launch on its way out, one without a note of its handle, and one dead."""
    await on.undeploy(A)
    await reach(on, A, State.STOPPING)
    await on.tick(POLICY.drain_timeout)
    await on.deploy(C)
    await on.tick()
    on.machine.end(await on.process(B), 1)
    assert (await on.process(A)).signals == [SIGTERM]
    await on.gone()
    await on.start()
    await reach(on, A, State.STOPPED, seconds=10)


async def reboot(on: Stage) -> None:
    await on.gone()
    on.machine.reboot()
    await on.start()
    await reach(on, A, State.READY, seconds=1)


BOTH = frozenset({A, B})
COURSES = {
    "deploy": Course(nothing, deploy, frozenset({A}), points=12),
    "undeploy": Course(ready, undeploy, frozenset({B}), points=14),
    "undeploy while starting": Course(ready, undeploy_while_starting, BOTH, points=18),
    "redeploy while stopping": Course(ready, redeploy_while_stopping, BOTH, points=24),
    "stop escalation": Course(stubborn, undeploy, frozenset({B}), points=18),
    "crash and restart": Course(stubborn, restart, frozenset({B, C}), points=38),
    "death": Course(ready, death, BOTH, points=10),
    "park": Course(idle, park, frozenset({A, C}), points=8),
    "wake": Course(idle, wake_while_parking, frozenset({A, C}), points=20),
    "take a port": Course(idle, take_its_port, frozenset({A, B, C, D}), points=50),
    "death, held": Course(ready, death, BOTH, points=10, holding=True),
    "undeploy, held": Course(ready, undeploy, frozenset({B}), points=15, holding=True),
    "park, held": Course(idle, park, frozenset({A, C}), points=10, holding=True),
    "shut down, held": Course(stubborn, shut_down, BOTH, points=30, holding=True),
    "holder dies": Course(ready, holder_dies, BOTH, points=20, holding=True),
    "failure": Course(nothing, failure, frozenset({C}), points=27),
    "strangers": Course(ready, strangers, frozenset({A, B, C}), points=26),
    "shut down": Course(stubborn, shut_down, BOTH, points=28),
    "reboot": Course(ready, reboot, BOTH, points=28),
}


#: All of them in the night: each takes the square of its points.
NIGHTLY = settings().max_examples > 1000
TWICE = [*COURSES] if NIGHTLY else ["deploy", "undeploy", "stop escalation"]


async def crashed(course: Course, first: int, second: int = 0) -> tuple[bool, bool]:
    """Play a course with a crash at a point of it, and one at a point of the recovery.

    Returns:
        Whether the course, and the recovery, have so many points.
    """
    with stage(POLICY, ports=4, holding=course.holding) as on:

        async def recovery() -> None:
            await on.start()
            await on.tick()

        await on.start()
        await course.before(on)
        reached = await on.crashes(lambda: course.work(on), first)
        again = False
        if reached:
            again = await on.crashes(recovery, second)
            if again:
                await on.start()
            await on.settle(course.wanted, {A, B, C, D, E} - course.wanted)
        await on.gone()
        return reached, again


@pytest.mark.parametrize("name", COURSES)
async def test_a_crash_at_any_point_is_made_good(name: str) -> None:
    course = COURSES[name]
    for point in count(1):
        reached, _ = await crashed(course, point)
        if not reached:
            break
    assert point - 1 >= course.points


@pytest.mark.parametrize("name", TWICE)
async def test_so_is_a_second_crash_while_recovering_from_it(name: str) -> None:
    course, crashes, reached = COURSES[name], 0, True
    for first in count(1):
        for second in count(1):
            reached, again = await crashed(course, first, second)
            if not again:
                break
            crashes += 1
        if not reached:
            break
    assert crashes >= 5 * course.points
