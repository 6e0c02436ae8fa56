"""The proxy is given its routes when they have changed, and again while it cannot serve all of them."""

from collections.abc import Sequence
from dataclasses import replace

from model_deployment.control.publisher import Publisher
from model_deployment.core.domain import Address, LaunchRole, LaunchState, State
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from model_deployment.core.routes import Route, Target
from tests.support.rows import launch, row

READY = row(State.READY, key=ModelKey("m", 1), options=Options())
OTHER = replace(READY, key=ModelKey("m", 2))
STOPPING = replace(OTHER, launches=row(State.STOPPING).launches)


class StubProxy:
    def __init__(self) -> None:
        self.complete = True
        self.given: list[list[State]] = []

    def replace(self, routes: Sequence[Route]) -> bool:
        self.given.append([route.state for route in routes])
        return self.complete

    def taken(self) -> list[list[State]]:
        """What it was given since the last call."""
        given, self.given = self.given, []
        return given


def test_routes_are_given_once_until_a_row_changes() -> None:
    proxy = StubProxy()
    publisher = Publisher(proxy.replace)
    for rows in ([READY, OTHER], [READY, OTHER], [replace(READY), OTHER]):
        publisher.publish(rows, closing=False)
    assert proxy.taken() == [[State.READY, State.READY]]
    publisher.publish([READY, STOPPING], closing=False)
    assert proxy.taken() == [[State.READY, State.STOPPING]]
    publisher.publish([READY], closing=False)
    assert proxy.taken() == [[State.READY]]


def test_route_that_was_replaced_by_itself_is_put_right_by_the_next_pass() -> None:
    proxy = StubProxy()
    publisher = Publisher(proxy.replace)
    rows = [READY, OTHER]
    publisher.publish(rows, closing=False)
    publisher.publish_one(STOPPING, closing=False)
    publisher.publish(rows, closing=False)
    assert proxy.taken() == [
        [State.READY, State.READY],
        [State.READY, State.STOPPING],
        [State.READY, State.READY],
    ]


def test_routes_that_were_not_all_taken_are_given_again() -> None:
    proxy = StubProxy()
    publisher = Publisher(proxy.replace)
    proxy.complete = False
    for _ in range(2):
        publisher.publish([READY], closing=False)
    proxy.complete = True
    for _ in range(2):
        publisher.publish([READY], closing=False)
    assert len(proxy.taken()) == 3


def test_unchanged_rows_make_other_routes_while_the_controller_stops() -> None:
    waits: list[bool] = []

    def note(routes: Sequence[Route]) -> bool:
        waits.extend(route.waits for route in routes)
        return True

    publisher = Publisher(note)
    parked = row(State.PARKED, options=Options(idle_timeout=5))
    publisher.publish([parked], closing=False)
    publisher.publish([parked], closing=True)
    assert waits == [True, False]


def test_a_route_has_all_that_may_answer_and_what_finishes() -> None:
    given: list[Route] = []

    def note(routes: Sequence[Route]) -> bool:
        given.extend(routes)
        return True

    publisher = Publisher(note)
    launches = (
        launch(LaunchState.READY, session="first"),
        launch(LaunchState.READY, replica=1),
        launch(LaunchState.PENDING, replica=2, port=8003, session="held"),
        launch(LaunchState.STARTING, replica=3),
        launch(LaunchState.STOPPING, replica=4, session="stops"),
        launch(LaunchState.STARTING, LaunchRole.COMING, id=6),
        launch(LaunchState.STOPPING, LaunchRole.RETIRING, id=7, session="retires"),
    )
    publisher.publish([replace(READY, launches=launches)], closing=False)
    [route] = given
    ids = [one.launch_id for one in launches]
    assert route.targets == (
        Target(ids[0], "first", Address("127.0.0.1", 8001)),
        Target(ids[1], str(ids[1]), Address("127.0.0.1", 8002)),
        Target(None, "held"),
        Target(ids[4], "stops"),
    )
    assert route.retiring == (Target(ids[6], "retires"),)
