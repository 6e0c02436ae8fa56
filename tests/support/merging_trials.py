"""Deployments whose requests are to be merged, on their way to the trial and through it."""

import asyncio

from model_deployment.core.domain import Deployment, State
from model_deployment.core.names import ModelKey
from model_deployment.core.options import AUTO, Options
from tests.support.settling import addresses
from tests.support.simulation import FIRST, Simulation

A, B = (ModelKey(name, 1) for name in "ab")
MERGED = Options(batch_max_rows=64)
OFF = Options(batch_max_rows=0)
BY_ITSELF = Options(batch_max_rows=AUTO)
#: What a trial finds of a model that does not predict each row by itself.
WHY = "its requests must not be merged (batch_max_rows): it ranks them"


async def healthy(sim: Simulation, options: Options = MERGED, key: ModelKey = A) -> Deployment:
    """Deploy, and tick until the first good health check is there to be seen."""
    assert await sim.deploy(key, options)
    await sim.tick()
    await sim.tick()
    sim.machine.load(await sim.process(key))
    sim.machine.advance(0.1)
    return await sim.row(key)


async def trying(sim: Simulation) -> Deployment:
    """The same, and the trial goes on until the gate is opened."""
    sim.machine.compare_gate = asyncio.Event()
    await healthy(sim)
    await sim.tick()
    await sim.tick()
    row = await sim.row(A)
    assert row.state is State.STARTING
    assert sim.machine.compared == [row.launch_id]
    return row


async def judged(sim: Simulation) -> Deployment:
    """Tick until the trial was made and its outcome seen.

    Without the check of the simulation, for which a launch has used up its tries one by one.
    """
    for _ in range(3):
        await sim.reconciler.tick()
        await asyncio.sleep(0)
        if (await sim.row(A)).state is not State.STARTING:
            break
    return await sim.row(A)


def serves(sim: Simulation) -> bool:
    """Whether requests are sent to the first port."""
    return any(one.port == FIRST for route in sim.routes for one in addresses(route))
