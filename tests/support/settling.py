"""All trouble is removed from a simulation; then what is wished has to come about."""

from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from model_deployment.core.domain import Address, Deployment, State
from model_deployment.core.names import ModelKey
from model_deployment.core.replicas import Replicas
from model_deployment.core.routes import Route

if TYPE_CHECKING:
    from tests.support.simulation import Simulation


def is_complete(row: Deployment) -> bool:
    """Whether a deployment has all its replicas, and no more, with its options."""
    current = all(one.generation == row.generation for one in row.serving)
    return current and len(row.serving) == len(row.ready) == row.replicas


def addresses(route: Route) -> list[Address]:
    """Where requests for a deployment can be sent now."""
    return [one.address for one in route.targets if one.address is not None]


async def settle(
    it: "Simulation",
    wanted: Collection[ModelKey],
    unwanted: Collection[ModelKey],
    rest: float,
) -> None:
    """All of it in bounded time; ``rest`` seconds later nothing is left of what went before."""
    it.machine.heal()
    it.traffic.clear()
    for _ in range(40):
        for key in unwanted:
            await it.undeploy(key)
        for key in wanted:  # failed ones are armed again; for others this changes nothing
            await _fit(it, key, len(wanted))
            await it.deploy(key)
        await it.tick(5.0)
        rows = await it.deployments.all()
        if _settled(rows, wanted):
            break
    else:
        raise AssertionError(f"did not settle: {rows}")
    await it.tick(rest)
    rows = await it.deployments.all()
    assert _settled(rows, wanted)
    expected = Counter({row.key: row.replicas for row in rows if row.key in wanted})
    assert Counter(process.key for process in it.machine.live) == expected
    published = {route.key: len(addresses(route)) for route in it.routes if route.serves}
    assert published == expected
    usage = await it.ports.usage(it.machine.now)
    taken = {process.port for process in it.machine.live if process.port is not None}
    assert usage.free == usage.size - len(taken)
    assert it.machine.held <= taken


async def _fit(it: "Simulation", key: ModelKey, deployments: int) -> None:
    """Want no more replicas than so many deployments can have, and one more while they change."""
    row = await it.deployments.get(key)
    if row is None:
        return
    room = max(1, it.size // deployments - 1)
    if row.options.replicas.min > room and row.options.start_method != "container":
        await it.change(key, replace(row.options, replicas=Replicas(1, room)))


def _settled(rows: Collection[Deployment], wanted: Collection[ModelKey]) -> bool:
    if any(row.replacement is not None and not row.replacement.is_over for row in rows):
        return False
    if any(row.retiring for row in rows):
        return False
    ready = {row.key for row in rows if is_complete(row)}
    resting = all(row.state is State.STOPPED for row in rows if row.key not in wanted)
    return ready == set(wanted) and resting
