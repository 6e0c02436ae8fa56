"""The memory of the machine as a bar."""

from model_deployment.core.measures import MachineMemory
from model_deployment.dashboard.facts import memory_bar

GIGABYTE = 1024**3


def test_memory_bar_shows_what_models_take_of_what_is_used() -> None:
    bar = memory_bar(MachineMemory(16 * GIGABYTE, 4 * GIGABYTE), 8 * GIGABYTE)
    assert (bar.free, bar.total, bar.models) == ("4.0 GB", "16.0 GB", "8.0 GB")
    assert (bar.used_percent, bar.models_percent, bar.scarce) == (75, 50, False)
    # Figures of models may be older than those of the machine.
    bar = memory_bar(MachineMemory(16 * GIGABYTE, 15 * GIGABYTE), 8 * GIGABYTE)
    assert (bar.used_percent, bar.models_percent) == (6, 6)
    assert memory_bar(MachineMemory(16 * GIGABYTE, GIGABYTE), 0).scarce
