"""A controller with several replicas, killed at every point of changes, scaling, deaths and stops."""

import pytest

from model_deployment.core.domain import LaunchState, State
from model_deployment.core.measures import LaunchTraffic
from model_deployment.core.options import Options, StartMethod
from model_deployment.core.replacement import Strategy
from model_deployment.core.replicas import Replicas
from tests.support.crash_courses import TICKS, A, B, Course, crashed, points, reach
from tests.support.settling import is_complete
from tests.support.simulation import Simulation

pytestmark = pytest.mark.slow

THREE = Options(replicas=Replicas(3, 3), batch_max_rows=0)
TWO = Options(replicas=Replicas(2, 2), batch_max_rows=0)
OTHER = Options(replicas=Replicas(3, 3), workers=2, batch_max_rows=0)
CONTAINED = Options(replicas=Replicas(2, 2), start_method=StartMethod.CONTAINER, batch_max_rows=0)
IDLE = Options(replicas=Replicas(2, 2), idle_timeout=30, batch_max_rows=0)


async def complete(sim: Simulation, options: Options) -> None:
    """Tick until all replicas serve with these options, and nothing of what was before is left."""
    for _ in range(2 * TICKS):
        await sim.tick(0.5)
        for process in sim.machine.live:
            sim.machine.load(process)
        row = await sim.row(A)
        changing = row.replacement is not None and not row.replacement.is_over
        if is_complete(row) and row.options == options and not changing and not row.retiring:
            return
    raise AssertionError(f"{await sim.row(A)} is not complete")


async def three(sim: Simulation) -> None:
    await sim.ready(B)
    await sim.deploy(A, THREE)
    await complete(sim, THREE)


async def two(sim: Simulation) -> None:
    await sim.deploy(A, TWO)
    await complete(sim, TWO)


async def idle(sim: Simulation) -> None:
    await sim.deploy(A, IDLE)
    await complete(sim, IDLE)


async def nothing(sim: Simulation) -> None:
    """An empty state."""


async def deploy(sim: Simulation) -> None:
    await three(sim)


async def contained(sim: Simulation) -> None:
    await sim.deploy(A, CONTAINED)
    await complete(sim, CONTAINED)


async def change(sim: Simulation) -> None:
    ready = len((await sim.row(A)).ready)
    await sim.change(A, OTHER)
    await complete(sim, OTHER)
    assert ready == 3


async def recreate(sim: Simulation) -> None:
    await sim.change(A, OTHER, Strategy.RECREATE)
    await complete(sim, OTHER)


async def to_containers(sim: Simulation) -> None:
    await sim.change(A, CONTAINED)
    await complete(sim, CONTAINED)


async def fewer(sim: Simulation) -> None:
    await sim.change(A, TWO)
    await complete(sim, TWO)


async def more(sim: Simulation) -> None:
    await sim.change(A, THREE)
    await complete(sim, THREE)


async def death(sim: Simulation) -> None:
    """Of two of three: the third one serves on."""
    row = await sim.row(A)
    for launch in row.ready[:2]:
        sim.machine.end(sim.machine.processes[str(launch.launch_id)], 1)
    await sim.tick()
    assert (await sim.row(A)).state is State.READY
    await complete(sim, THREE)


async def undeploy(sim: Simulation) -> None:
    await sim.undeploy(A)
    await reach(sim, A, State.STOPPED, seconds=10)


async def undeploy_while_changing(sim: Simulation) -> None:
    await sim.change(A, OTHER)
    for _ in range(TICKS):
        await sim.tick(0.1)
        if any(one.state is LaunchState.STARTING for one in (await sim.row(A)).launches):
            break
    await undeploy(sim)


async def park_and_wake(sim: Simulation) -> None:
    for launch in (await sim.row(A)).ready:
        sim.traffic[str(launch.launch_id)] = LaunchTraffic(idle=60)
    await reach(sim, A, State.PARKED)
    sim.traffic.clear()
    await sim.request(A)
    await complete(sim, IDLE)


BOTH, FIRST = frozenset({A, B}), frozenset({A})
COURSES = {
    "deploy": Course(nothing, deploy, BOTH, points=40, ports=6),
    "deploy containers": Course(nothing, contained, FIRST, points=20),
    "change": Course(three, change, BOTH, points=50, ports=6),
    "change, held": Course(three, change, BOTH, points=50, ports=6, holding=True),
    "recreate": Course(three, recreate, BOTH, points=40, ports=6),
    "to containers": Course(two, to_containers, FIRST, points=30, holding=True),
    "fewer": Course(three, fewer, BOTH, points=8, ports=6),
    "more": Course(two, more, FIRST, points=10),
    "death": Course(three, death, BOTH, points=14, ports=6),
    "death, held": Course(three, death, BOTH, points=14, ports=6, holding=True),
    "undeploy": Course(three, undeploy, frozenset({B}), points=24, ports=6),
    "undeploy while changing": Course(
        three, undeploy_while_changing, frozenset({B}), points=30, ports=6
    ),
    "park and wake": Course(idle, park_and_wake, FIRST, points=30, holding=True),
}


@pytest.mark.parametrize("name", COURSES)
async def test_a_crash_at_any_point_is_made_good(name: str) -> None:
    course = COURSES[name]
    for point in points():
        reached, _ = await crashed(course, point)
        if not reached:
            break
    assert point - 1 >= course.points
