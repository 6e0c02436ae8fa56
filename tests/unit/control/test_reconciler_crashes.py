"""A controller killed at every point of every course of events, one point after the other.

A point lies before and after each commit and each effect on a process. The new controller starts
from what the old one left, and has to bring about what is wished. A second crash, at every point of
that recovery, changes nothing.
"""

import pytest

from model_deployment.core.domain import State
from model_deployment.core.measures import LaunchTraffic
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from model_deployment.core.replacement import Strategy
from tests.support.crash_courses import (
    NIGHTLY,
    POLICY,
    STEP,
    TICKS,
    A,
    B,
    C,
    Course,
    D,
    E,
    crashed,
    points,
    reach,
)
from tests.support.fake_machine import SIGTERM
from tests.support.simulation import FIRST, PLAIN, Simulation

pytestmark = pytest.mark.slow

IDLE = Options(idle_timeout=30)
OTHER = Options(workers=3, batch_max_rows=0)


async def nothing(sim: Simulation) -> None:
    """An empty state."""


async def ready(sim: Simulation) -> None:
    await sim.ready(A, B)


async def idle(sim: Simulation) -> None:
    """One that may be parked, and one that is."""
    for key in (A, C):
        await sim.deploy(key, IDLE)
        await reach(sim, key, State.READY)
    await rest(sim, C)


async def rest(sim: Simulation, key: ModelKey) -> None:
    sim.traffic[(await sim.row(key)).launch_id or ""] = LaunchTraffic(idle=60)
    await reach(sim, key, State.PARKED)


async def stubborn(sim: Simulation) -> None:
    await sim.ready(A, B)
    (await sim.process(A)).stubborn = True
    sim.traffic[(await sim.row(A)).launch_id or ""] = LaunchTraffic(in_flight=1, oldest=2.0)


async def deploy(sim: Simulation) -> None:
    await sim.deploy(A)
    await reach(sim, A, State.READY)


async def undeploy(sim: Simulation) -> None:
    await sim.undeploy(A)
    await reach(sim, A, State.STOPPED, seconds=10)


async def undeploy_while_starting(sim: Simulation) -> None:
    await sim.deploy(C)
    await reach(sim, C, State.STARTING)
    await sim.undeploy(C)
    await reach(sim, C, State.STOPPED, seconds=1)


async def redeploy_while_stopping(sim: Simulation) -> None:
    await sim.undeploy(A)
    await reach(sim, A, State.STOPPING)
    await sim.deploy(A)
    await reach(sim, A, State.READY, seconds=10)


async def death(sim: Simulation) -> None:
    sim.machine.end(await sim.process(A), 1)
    await reach(sim, A, State.PENDING)
    await reach(sim, A, State.READY, seconds=1)


async def holder_dies(sim: Simulation) -> None:
    """And a stranger takes one of the ports."""
    for key in (A, B):
        sim.machine.end(await sim.process(key), 1)
        await reach(sim, key, State.PENDING)
    sim.machine.held.clear()
    sim.machine.squat(FIRST)
    await reach(sim, A, State.READY, seconds=1)
    await reach(sim, B, State.READY, seconds=1)
    assert [(await sim.row(key)).port for key in (A, B)] == [FIRST + 2, FIRST + 1]


async def park(sim: Simulation) -> None:
    await rest(sim, A)


async def wake_while_parking(sim: Simulation) -> None:
    sim.traffic[(await sim.row(A)).launch_id or ""] = LaunchTraffic(idle=60)
    await reach(sim, A, State.STOPPING)
    await sim.request(A)
    await sim.request(C)
    await reach(sim, A, State.READY)
    await reach(sim, C, State.READY)


async def take_its_port(sim: Simulation) -> None:
    """There are four ports, for the two that never park, and three that do."""
    await sim.deploy(B)
    await sim.deploy(D)
    await sim.deploy(C)
    for key in (B, D, C):
        await reach(sim, key, State.READY)
    sim.traffic[(await sim.row(A)).launch_id or ""] = LaunchTraffic(idle=1)
    await sim.deploy(E, IDLE)
    await reach(sim, E, State.READY)
    assert (await sim.row(A)).state is State.PARKED


async def failure(sim: Simulation) -> None:
    sim.machine.start_error = OSError(12, "Cannot allocate memory")
    await sim.deploy(C)
    await reach(sim, C, State.FAILED, seconds=10)


async def strangers(sim: Simulation) -> None:
    for number in range(2, 4):
        sim.machine.squat(FIRST + number)
    await sim.deploy(C)
    await sim.tick()
    await sim.tick()
    assert (await sim.row(C)).port is None
    sim.machine.strangers.clear()
    await reach(sim, C, State.READY, seconds=10)


async def shut_down(sim: Simulation) -> None:
    await sim.shut_down()
    await sim.start()


async def restart(sim: Simulation) -> None:
    """With a launch on its way out, one without a note of its handle, and one dead."""
    await sim.undeploy(A)
    await reach(sim, A, State.STOPPING)
    await sim.tick(POLICY.drain_timeout)
    await sim.deploy(C)
    await sim.tick()
    sim.machine.end(await sim.process(B), 1)
    assert (await sim.process(A)).signals == [SIGTERM]
    await sim.gone()
    await sim.start()
    await reach(sim, A, State.STOPPED, seconds=10)


async def reboot(sim: Simulation) -> None:
    await sim.gone()
    sim.machine.reboot()
    await sim.start()
    await reach(sim, A, State.READY, seconds=1)


async def change(sim: Simulation) -> None:
    await sim.change(A, OTHER)
    await replaced(sim, OTHER)


async def change_with_requests(sim: Simulation) -> None:
    """The launch before does not finish them in time."""
    sim.traffic[(await sim.row(A)).launch_id or ""] = LaunchTraffic(in_flight=1)
    await sim.change(A, OTHER)
    await replaced(sim, OTHER)


async def change_fails(sim: Simulation) -> None:
    await sim.change(A, OTHER)
    before = (await sim.row(A)).launch_id
    await second_launch(sim)
    for process in sim.machine.live:
        if process.spec.options == OTHER:
            sim.machine.end(process, 1)
    await replaced(sim, PLAIN)
    assert (await sim.row(A)).launch_id == before


async def both_launches_fail(sim: Simulation) -> None:
    """The launch that serves crashes while the next one starts."""
    await sim.change(A, OTHER)
    await second_launch(sim)
    for process in sim.machine.live:
        if process.key == A and process.spec.options != OTHER:
            sim.machine.end(process, 1)
    await replaced(sim, OTHER)


async def undeploy_while_changing(sim: Simulation) -> None:
    await sim.change(A, OTHER)
    await second_launch(sim)
    await undeploy(sim)


async def recreate(sim: Simulation) -> None:
    await sim.change(A, OTHER, Strategy.RECREATE)
    await replaced(sim, OTHER)
    await reach(sim, A, State.READY, seconds=10)


async def second_launch(sim: Simulation) -> None:
    for _ in range(TICKS):
        await sim.tick()
        coming = (await sim.row(A)).coming
        if coming is not None and coming.is_live:
            return
    raise AssertionError("there is no second launch")


async def replaced(sim: Simulation, options: Options) -> None:
    """Tick until there is one launch with these options."""
    for _ in range(TICKS):
        await sim.tick(1)
        for process in sim.machine.live:
            sim.machine.load(process)
        row = await sim.row(A)
        if row.options == options and (row.replacement is None or row.replacement.is_over):
            return
    raise AssertionError(f"{row} has no launch with {options}")


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
    "change": Course(stubborn, change, BOTH, points=20),
    "change, held": Course(ready, change_with_requests, BOTH, points=20, holding=True),
    "change fails": Course(ready, change_fails, BOTH, points=12),
    "both launches fail, held": Course(ready, both_launches_fail, BOTH, points=12, holding=True),
    "undeploy while changing": Course(ready, undeploy_while_changing, frozenset({B}), points=20),
    "recreate": Course(ready, recreate, BOTH, points=16),
}


#: All of them in the night: each takes the square of its points.
TWICE = [*COURSES] if NIGHTLY else ["deploy", "undeploy"]


@pytest.mark.parametrize("name", COURSES)
async def test_a_crash_at_any_point_is_made_good(name: str) -> None:
    course = COURSES[name]
    for point in points():
        reached, _ = await crashed(course, point)
        if not reached:
            break
    assert point - 1 >= course.points


@pytest.mark.parametrize("name", TWICE)
async def test_so_is_a_second_crash_while_recovering_from_it(name: str) -> None:
    course, crashes, reached = COURSES[name], 0, True
    for first in points():
        for second in points():
            reached, again = await crashed(course, first, second)
            if not again:
                break
            crashes += 1
        if not reached:
            break
    assert crashes * STEP**2 >= 5 * course.points
