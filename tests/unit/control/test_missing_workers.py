"""Missing workers are told once of each launch, and once that they have come."""

from dataclasses import replace

import pytest

from model_deployment.control.missing_workers import INTERVAL, MissingWorkers, serving
from model_deployment.core.domain import Address, Deployment, Handle, LaunchState, State
from model_deployment.core.measures import WorkerCounts
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from tests.support.rows import launch, row

KEY, READY = ModelKey("m", 1), LaunchState.READY
TWO = Options(workers=2)
ROW = row(State.READY, key=KEY, options=TWO)
WHOLE = WorkerCounts(2, 2)
BROKEN = WorkerCounts(1, 2, "OSError: [Errno 98] Address already in use")


class Counted:
    """A roll call, and what it told."""

    def __init__(self) -> None:
        self.crew: WorkerCounts | None = WHOLE
        self.told: list[str] = []
        self.looks = 0
        self._now = 0.0
        self._call = MissingWorkers(
            self._look, lambda key, text, level=0: self.told.append(f"{key}: {text}")
        )

    def _look(self, handle: Handle) -> WorkerCounts | None:
        self.looks += 1
        return self.crew

    def count(self, crew: WorkerCounts | None, deployment: Deployment = ROW) -> None:
        self.crew = crew
        self._now += INTERVAL
        self._call.maybe_count([deployment], self._now)
        self._call.maybe_count([deployment], self._now + INTERVAL / 2)


def test_missing_workers_are_told_once_and_once_that_they_serve() -> None:
    it = Counted()
    for crew in (WHOLE, BROKEN, BROKEN, None, BROKEN, WHOLE, BROKEN, WHOLE):
        it.count(crew)
    first, second = it.told
    assert first.startswith(
        "m-1: 1 of 2 workers serve; another one did not load the model: OSError: [Errno 98] Address already"
    )
    assert second == "m-1: all 2 workers serve"
    assert it.looks == 8


def test_another_launch_is_told_of_anew() -> None:
    it = Counted()
    handle = Handle("b", Address("127.0.0.1", 1))
    for each in (ROW, row(State.READY, key=KEY, options=TWO, launch_id="b", handle=handle)):
        it.count(BROKEN, each)
    assert len(it.told) == 2


def test_a_worker_that_is_only_being_replaced_is_not_told_of() -> None:
    it = Counted()
    it.count(WorkerCounts(1, 2))
    it.count(BROKEN, row(State.STARTING, key=KEY, options=TWO))
    it.count(BROKEN, row(State.READY, key=KEY))
    assert it.told == []


@pytest.mark.parametrize(
    ("deployment", "crew", "number"),
    [
        (ROW, WHOLE, 2), (ROW, BROKEN, 1), (ROW, None, None),
        (row(State.READY), None, 1),
        (row(State.STARTING), None, 0),
        (row(State.STARTING, options=TWO), WorkerCounts(0, 2), 0),
        (row(State.STOPPED, options=TWO), None, 0),
        (row(State.PARKED, options=TWO), None, 0),
        (replace(ROW, launches=(launch(READY, options=TWO), launch(READY, replica=1))), WHOLE, 3),
        (replace(ROW, launches=(launch(READY, options=TWO), launch(READY, replica=1))), None, None),
    ],
)  # fmt: skip
def test_how_many_serve(
    deployment: Deployment, crew: WorkerCounts | None, number: int | None
) -> None:
    assert serving(deployment, lambda handle: crew) == number
