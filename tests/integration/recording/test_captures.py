"""Each prediction that was answered is in the embedded store once, whatever was killed meanwhile."""

import json
import sqlite3
from contextlib import closing
from functools import partial
from typing import Any

from tests.support.capture_queries import (
    callers,
    check,
    drains,
    embedded,
    more,
    segments,
    state,
)
from tests.support.harness import Controller, Controllers
from tests.support.waiting import until_sync


def capture(controller: Controller, name: str) -> Any:
    """What the store has of one request."""
    with closing(
        sqlite3.connect(f"file:{controller.data / 'documents.db'}?mode=ro", uri=True)
    ) as connection:
        query = "SELECT body FROM documents WHERE collection = 'captures' AND request_id = ?"
        ((body,),) = connection.execute(query, (name,))
    return json.loads(body)


def test_each_prediction_is_captured_once(controllers: Controllers) -> None:
    controller = controllers().up()
    row = controller.deploy("stub-1")
    with callers(controller, "stub-1") as calls:
        more(calls)
    assert calls.failed == []
    check(calls, partial(embedded, controller))
    assert sorted(embedded(controller)) == sorted(calls.answered)
    found = capture(controller, "caller-0-7")
    assert (found["columns"], found["data"], found["rows"]) == (["x"], [[7]], 1)
    assert (found["model"], found["version"]) == ("stub", 1)
    assert found["latency_ms"] > 0
    assert row["state"] == "ready"
    until_sync(lambda: state(controller)["written"] == len(calls.answered))
    until_sync(lambda: state(controller)["spool_bytes"] == 0)
    told = {name: state(controller)[name] for name in ("dropped", "dead", "error")}
    assert told == {"dropped": 0, "dead": 0, "error": ""}


def test_requests_refused_or_failed_are_not_captured(controller: Controller) -> None:
    for key in ("stub-1", "times-out-1"):
        controller.deploy(key)
    others = {*embedded(controller)}
    assert controller.predict("times-out-1", {"x": 1}).status_code == 504
    assert controller.predict("stub-1", {"y": 1}).status_code == 422
    good = controller.predict("stub-1", {"x": 1})
    until_sync(lambda: {*embedded(controller)} - others == {good.headers["x-request-id"]})


def test_columns_and_rate_are_those_of_the_deployment(controller: Controller) -> None:
    controller.deploy("stub-1", capture_exclude=["x"])
    controller.deploy("stub-2", capture_hash=["x"])
    controller.deploy("stub-3", capture_rate=0)
    others = {*embedded(controller)}
    names = []
    for key in ("stub-3", "stub-1", "stub-2"):
        answer = controller.predict(key, {"x": 7})
        assert answer.status_code == 200
        names.append(answer.headers["x-request-id"])
    until_sync(lambda: len({*embedded(controller)} - others) == 2)
    assert {*embedded(controller)} - others == {*names[1:]}
    assert capture(controller, names[1])["columns"] == []
    ((digest,),) = capture(controller, names[2])["data"]
    assert len(digest) == 24


def test_a_controller_that_is_killed_loses_no_prediction_that_was_answered(
    controllers: Controllers,
) -> None:
    """Alone, and together with its drain."""
    controller = controllers().up()
    controller.deploy("stub-1")
    with callers(controller, "stub-1") as calls:
        more(calls)
        controller.kill()
        controller.up()
        more(calls)
        (drain,) = until_sync(lambda: drains(controller))
        drain.suspend()
        more(calls)
        controller.kill()
        drain.kill()
        controller.up()
        more(calls)
    check(calls, partial(embedded, controller))


def test_a_killed_drain_is_started_again_and_nothing_is_lost_or_doubled(
    controllers: Controllers,
) -> None:
    controller = controllers().up()
    controller.deploy("stub-1")
    with callers(controller, "stub-1") as calls:
        seen = set()
        for _ in range(2):
            (drain,) = until_sync(lambda: drains(controller))
            assert drain.pid not in seen
            seen.add(drain.pid)
            stored = len(embedded(controller))
            until_sync(lambda stored=stored: len(embedded(controller)) > stored)  # type: ignore[misc]
            drain.kill()
            more(calls)
        until_sync(lambda: {drain.pid for drain in drains(controller)} - seen, timeout=20)
    assert calls.failed == []
    assert calls.unheard == 0
    check(calls, partial(embedded, controller))
    until_sync(lambda: state(controller)["spool_bytes"] == 0)
    # A batch that was written and not noted any more is known the second time, and not counted.
    assert 0 < state(controller)["written"] <= len(calls.answered)


def test_the_drain_goes_on_without_a_controller_and_the_next_one_adopts_it(
    controllers: Controllers,
) -> None:
    controller = controllers().up()
    controller.deploy("stub-1")
    (drain,) = until_sync(lambda: drains(controller))
    drain.suspend()
    assert controller.predict("stub-1", {"x": 1}).status_code == 200
    controller.kill()
    assert embedded(controller) == []
    (before,) = [segment for segment in segments(controller) if segment.stat().st_size]
    drain.resume()
    until_sync(lambda: len(embedded(controller)) == 1, what="the drain to go on")
    controller.up()
    until_sync(lambda: f"adopted process {drain.pid} of" in controller.logged())
    until_sync(lambda: before not in segments(controller), what="the segment to be deleted")
    assert [one.pid for one in drains(controller)] == [drain.pid]
    # It is watched.
    drain.kill()
    (other,) = until_sync(lambda: [one for one in drains(controller) if one.pid != drain.pid])
    assert controller.terminate() == 0
    assert drains(controller) == []
    assert not other.is_running()


def test_the_drain_goes_on_where_models_are_kept_unless_its_configuration_differs(
    controllers: Controllers,
) -> None:
    controller = controllers().up(KEEP_MODELS=True)
    (drain,) = until_sync(lambda: drains(controller))
    assert controller.terminate() == 0
    assert [one.pid for one in drains(controller)] == [drain.pid]
    controller.up()
    until_sync(lambda: f"adopted process {drain.pid} of" in controller.logged())
    controller.kill()
    controller.up(KEEP_MODELS=False, SPOOL_HOURS=5)
    (other,) = until_sync(lambda: [one for one in drains(controller) if one.pid != drain.pid])
    until_sync(lambda: [one.pid for one in drains(controller)] == [other.pid])
    assert f"replacing process {drain.pid} of" in controller.logged()
    assert controller.terminate() == 0
    assert drains(controller) == []


def test_nobody_sees_the_password_of_the_document_store(controllers: Controllers) -> None:
    controller = controllers(DOCUMENTS_URL="mongodb://u:swordfish@127.0.0.1:1/d").up()
    (drain,) = until_sync(lambda: drains(controller))
    until_sync(lambda: state(controller)["error"])
    assert "swordfish" not in " ".join(drain.cmdline())
    assert "swordfish" not in str(drain.environ())
    assert "swordfish" not in controller.drain_logged()


def test_erased_captures_do_not_come_back_with_the_next_controller(
    controllers: Controllers,
) -> None:
    controller = controllers().up()
    controller.deploy("stub-1")
    names = [controller.predict("stub-1", {"x": 1}).headers["x-request-id"] for _ in range(2)]
    until_sync(lambda: embedded(controller) == names)
    path = "/model/stub-1/captures"
    assert controller.call("DELETE", path, params={"request_id": names[0]}).status_code == 200
    assert embedded(controller) == names[1:]
    controller.terminate()
    controller.up()
    controller.wait_for("stub-1", "ready")
    answer = controller.predict("stub-1", {"x": 1})
    assert answer.status_code == 200
    later = answer.headers["x-request-id"]
    until_sync(lambda: later in embedded(controller))
    assert embedded(controller) == [names[1], later]
