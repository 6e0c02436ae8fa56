"""A controller at work in the simulation."""

from collections.abc import AsyncIterator

import pytest

from tests.support.simulation import Simulation, simulation


@pytest.fixture
async def sim() -> AsyncIterator[Simulation]:
    with simulation() as made:
        await made.start()
        yield made
        await made.gone()
