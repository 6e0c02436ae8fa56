"""The environments of a controller, without one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.environment_bench import EnvironmentBench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[EnvironmentBench]:
    """A store of environments with an index of tiny packages; its builds end with the test."""
    found = EnvironmentBench(tmp_path)
    yield found
    found.close()
