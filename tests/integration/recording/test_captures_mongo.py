"""A real MongoDB that refuses, hangs, dies and comes back: no prediction fails, none is lost."""

import json
import re
from functools import partial
from typing import Any

import pytest

from tests.support.capture_queries import callers, check, more, state
from tests.support.harness import Controller, Controllers
from tests.support.mongod import Mongod
from tests.support.waiting import until_sync

pytest_plugins = ["tests.support.document_store_fixtures"]

#: Longer than the store's own limits and the longest pause between two tries together.
PATIENCE = 30


@pytest.fixture
def controller(controllers: Controllers, mongod: Mongod) -> Controller:
    """One whose captures go to MongoDB."""
    return controllers(DOCUMENTS_URL=mongod.url)


def captures(mongod: Mongod) -> list[dict[str, Any]]:
    with mongod.client() as client:
        return list(client.get_default_database()["captures"].find().sort("ts"))


def stored(mongod: Mongod) -> list[str]:
    return [one["request_id"] for one in captures(mongod)]


def count(mongod: Mongod) -> int:
    with mongod.client() as client:
        return client.get_default_database()["captures"].count_documents({})


def wait_until_away(controller: Controller) -> str:
    error: str = until_sync(
        lambda: state(controller)["error"], timeout=PATIENCE, what="/ready to tell of the error"
    )
    assert "MongoDB" in error
    return error


def wait_until_back(controller: Controller) -> None:
    """The error goes, and the backlog does."""
    until_sync(lambda: not state(controller)["error"], timeout=PATIENCE, what="the error to go")
    until_sync(lambda: not state(controller)["spool_bytes"], timeout=PATIENCE, what="the backlog")
    told = state(controller)
    assert (told["dropped"], told["dead"]) == (0, 0)


def test_each_prediction_is_captured_once_whatever_the_store_does(
    controller: Controller, mongod: Mongod
) -> None:
    """It is away at the start, comes, hangs, and goes on."""
    mongod.kill()
    controller.up().deploy("stub-1")
    with callers(controller, "stub-1") as calls:
        more(calls)
        wait_until_away(controller)
        backlog = state(controller)["spool_bytes"]
        assert backlog > 0
        more(calls)
        until_sync(lambda: state(controller)["spool_bytes"] > backlog)
        mongod.revive()
        until_sync(lambda: count(mongod) > 50, timeout=PATIENCE)
        mongod.pause()
        more(calls)
        wait_until_away(controller)
        backlog = state(controller)["spool_bytes"]
        more(calls)
        until_sync(lambda: state(controller)["spool_bytes"] > backlog)
        mongod.resume()
        more(calls)
    assert (calls.failed, calls.unheard) == ([], 0)
    check(calls, partial(stored, mongod))
    wait_until_back(controller)
    found = next(one for one in captures(mongod) if one["request_id"] == "caller-0-7")
    assert (found["columns"], found["data"], found["predictions"]) == (["x"], [[7]], [7])


def test_a_store_that_is_killed_in_the_middle_of_the_work_loses_nothing(
    controller: Controller, mongod: Mongod
) -> None:
    controller.up().deploy("stub-1")
    with callers(controller, "stub-1") as calls:
        until_sync(lambda: count(mongod) > 0, timeout=PATIENCE)
        # A backlog of some batches; the end comes while they are written.
        mongod.pause()
        more(calls, 700)
        mongod.resume()
        with mongod.client() as client:
            held = client.get_default_database()["captures"]
            before = held.count_documents({})
            until_sync(lambda: held.count_documents({}) > before, timeout=PATIENCE, interval=0.001)
        mongod.kill()
        more(calls)
        mongod.revive()
        more(calls)
    assert (calls.failed, calls.unheard) == ([], 0)
    check(calls, partial(stored, mongod))
    wait_until_back(controller)


def test_a_controller_that_is_killed_or_stops_while_the_store_hangs_loses_nothing(
    controller: Controller, mongod: Mongod
) -> None:
    controller.up().deploy("stub-1")
    with callers(controller, "stub-1") as calls:
        until_sync(lambda: count(mongod) > 0, timeout=PATIENCE)
        mongod.pause()
        more(calls)
        controller.kill()
        controller.up()
        more(calls)
        wait_until_away(controller)
    assert controller.terminate() == 0
    mongod.resume()
    controller.up()
    check(calls, partial(stored, mongod))


def padded(controller: Controller, name: str, padding: int = 20_000) -> int:
    body = {"dataframe_records": [{"x": 1.5, "padding": "x" * padding}]}
    answer = controller.call("POST", "/stub-1", json=body, headers={"X-Request-Id": name})
    return answer.status_code


def test_spool_full_drops_captures_until_there_is_room(
    controllers: Controllers, mongod: Mongod
) -> None:
    controller = controllers(DOCUMENTS_URL=mongod.url, SPOOL_BYTES=1024 * 1024)
    mongod.kill()
    controller.up().deploy("stub-1", validation="observe")
    names = [f"early-{number}" for number in range(80)]
    assert {padded(controller, name) for name in names} == {200}
    dropped = state(controller)["dropped"]
    assert 25 <= dropped <= 35
    assert state(controller)["spool_bytes"] <= 1024 * 1024
    # Once a second, so in one line or two.
    logged = re.compile("([0-9]+) captures were dropped")
    until_sync(lambda: sum(map(int, logged.findall(controller.logged()))) == dropped)
    mongod.revive()
    until_sync(lambda: count(mongod) == len(names) - dropped, timeout=PATIENCE)
    # The first ones are there, and what found no room is not.
    assert stored(mongod) == names[: len(names) - dropped]
    until_sync(lambda: not state(controller)["spool_bytes"])

    def has_room() -> bool:
        before = state(controller)["dropped"]
        assert padded(controller, "first") == 200
        return bool(state(controller)["dropped"] == before)

    # The writer looks once a second how full the spool is.
    until_sync(has_room)
    dropped_at_last = state(controller)["dropped"]
    assert {padded(controller, f"late-{number}") for number in range(30)} == {200}
    until_sync(lambda: count(mongod) == len(names) - dropped + 31, timeout=PATIENCE)
    assert state(controller)["dropped"] == dropped_at_last


def test_captures_refused_by_mongo_become_dead_letters(
    controller: Controller, mongod: Mongod
) -> None:
    controller.up().deploy("stub-1", validation="observe")
    refused = []
    with callers(controller, "stub-1", 1) as calls:
        for value in (10**30, {"a\0b": 1}):
            more(calls, 30)
            poison = {"instances": [{"x": value}]}
            answer = controller.call("POST", "/stub-1", json=poison)
            assert answer.status_code == 200
            assert answer.json()["predictions"] == poison["instances"]
            refused.append(answer.headers["x-request-id"])
        more(calls, 30)
    check(calls, partial(stored, mongod))
    until_sync(lambda: state(controller)["dead"] == 2)
    with mongod.client() as client:
        letters = [*client.get_default_database()["dead_letters"].find()]
    assert len(letters) == 2
    for letter in letters:
        assert (letter["model"], letter["version"]) == ("stub", 1)
        assert letter["reason"]
        assert json.loads(json.dumps(letter["reason"])) == letter["reason"]
    assert not {*refused} & {*stored(mongod)}
    assert re.search("cannot store [12] captures", controller.drain_logged())
