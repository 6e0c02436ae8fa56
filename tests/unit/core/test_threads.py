"""How many threads each worker process computes with."""

import pytest

from model_deployment.core.domain import Desired, State
from model_deployment.core.options import Options, StartMethod
from model_deployment.core.replicas import Replicas
from model_deployment.core.threads import threads_of, worker_processes
from tests.support.rows import row


@pytest.mark.parametrize(
    ("cores", "processes", "threads"),
    [(16, 1, 8), (16, 3, 2), (16, 8, 1), (16, 100, 1), (2, 1, 1), (1, 1, 1), (4, 0, 2)],
)
def test_cores_are_divided_among_processes(cores: int, processes: int, threads: int) -> None:
    assert threads_of(Options(), cores, processes) == threads


@pytest.mark.parametrize("method", StartMethod)
def test_a_number_holds_everywhere(method: StartMethod) -> None:
    assert threads_of(Options(threads=3, start_method=method), 1, 50) == 3


@pytest.mark.parametrize(("cpu", "workers", "threads"), [("auto", 4, 1), (8, 2, 4), (0.5, 1, 1)])
def test_a_container_has_its_own_processors(cpu: float, workers: int, threads: int) -> None:
    options = Options(start_method=StartMethod.CONTAINER, cpu_limit=cpu, workers=workers)
    assert threads_of(options, 64, 1) == threads


def test_processes_of_all_that_are_to_run_count() -> None:
    rows = [
        row(State.READY, options=Options(workers=2, replicas=Replicas(3, 3))),
        row(State.PARKED, options=Options(workers=4)),
        row(State.READY, options=Options(workers=8, start_method=StartMethod.CONTAINER)),
        row(State.STOPPED, desired=Desired.STOPPED, options=Options(workers=16)),
    ]
    assert worker_processes(rows) == 2 * 3 + 4
