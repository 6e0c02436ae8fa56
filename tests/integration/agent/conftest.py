"""A controller and an agent for tests of the agent."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.edge_controller import EdgeController
from tests.support.edge_device import EdgeDevice


@pytest.fixture
def edge() -> Iterator[EdgeController]:
    with EdgeController() as controller:
        yield controller


@pytest.fixture
def device(edge: EdgeController, tmp_path: Path) -> Iterator[EdgeDevice]:
    """An enrolled device; its agent is not started yet."""
    found = EdgeDevice(tmp_path / "device", edge)
    found.enrol()
    yield found
    found.stop()
