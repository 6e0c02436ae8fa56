"""The proxy is given its routes when they have changed, and again while it cannot serve all of them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from model_deployment.control.publisher import Publisher
from model_deployment.core.domain import Address, Deployment, Desired, Handle, Route, State
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options

READY = Deployment(
    key=ModelKey("m", 1),
    desired=Desired.RUNNING,
    state=State.READY,
    options=Options(),
    artifact="m-1-0",
    created_at=datetime.now(UTC),
    launch_id="a",
    handle=Handle("a", Address("127.0.0.1", 1)),
)
OTHER = replace(READY, key=ModelKey("m", 2), launch_id="b")


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
    stopping = replace(OTHER, state=State.STOPPING)
    publisher.publish([READY, stopping], closing=False)
    assert proxy.taken() == [[State.READY, State.STOPPING]]
    publisher.publish([READY], closing=False)
    assert proxy.taken() == [[State.READY]]


def test_route_that_was_replaced_by_itself_is_put_right_by_the_next_pass() -> None:
    proxy = StubProxy()
    publisher = Publisher(proxy.replace)
    rows = [READY, OTHER]
    publisher.publish(rows, closing=False)
    publisher.publish_one(replace(OTHER, state=State.STOPPING), closing=False)
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
    parked = replace(READY, state=State.PARKED, options=Options(idle_timeout=5), handle=None)
    publisher.publish([parked], closing=False)
    publisher.publish([parked], closing=True)
    assert waits == [True, False]
