"""Counts of several processes in any order of events: lost reports, kills, new controllers.

The checks are in ``tests/support/count_simulation.py``.
"""

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_deployment.recording import windows
from tests.support.count_simulation import CountSimulation


@pytest.fixture
def short_hours(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Minutes are merged by five, as soon as more than three wait."""
    with monkeypatch.context() as it:
        it.setattr(windows, "_WAITING", 3)
        it.setattr(windows, "_MERGED", 5)
        yield


@given(st.integers(0, 1 << 32))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.usefixtures("short_hours")
def test_sums_are_right_in_any_order_of_events(seed: int) -> None:
    it = CountSimulation(Random(seed))
    for _ in range(100):
        it.step()
        it.check()
