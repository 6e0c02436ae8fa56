"""What a controller tells of itself: metrics that add up, and a log that programs can read."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from tests.support.harness import Controller, Controllers
from tests.support.waiting import until_sync

SECRET = "c4naryS3cret"


class Metrics:
    """One scrape."""

    def __init__(self, controller: Controller) -> None:
        answer = controller.call("GET", "/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=")
        self._found = {
            (one.name.removeprefix("model_deployment_"), frozenset(one.labels.items())): one.value
            for family in read_text(answer.text)
            for one in family.samples
        }

    def of(self, key: str, name: str, **labels: str) -> float | None:
        model, _, version = key.rpartition("-")
        return self.get(name, model=model, version=version, **labels)

    def get(self, name: str, **labels: str) -> float | None:
        return self._found.get((name, frozenset(labels.items())))

    def models(self) -> set[str]:
        return {dict(labels)["model"] for _, labels in self._found if "model" in dict(labels)}


def test_metrics_tell_what_was_asked_for_and_what_became_of_it(controller: Controller) -> None:
    assert Metrics(controller).models() == set()
    controller.deploy("stub-1")
    for number in range(3):
        controller.call("POST", "/stub-1", json={"dataframe_records": [{"x": number}, {"x": 1}]})
    controller.call("POST", "/stub-1", json={"dataframe_records": [{"x": "y", SECRET: 1}]})
    controller.call("POST", "/stub-1", content=b"{", headers={"content-type": "application/json"})
    row = controller.row("stub-1")
    assert row["rss"] > 1_000_000
    assert 0 < row["pss"] <= row["rss"]

    def weighed() -> Metrics:
        found = Metrics(controller)
        assert found.of("stub-1", "resident_memory_bytes")
        return found

    found = until_sync(weighed, what="the memory of a model")
    assert found.of("stub-1", "requests_total", outcome="answered") == 3
    assert found.of("stub-1", "requests_total", outcome="refused") == 1
    assert found.of("stub-1", "requests_total", outcome="malformed") == 1
    assert found.of("stub-1", "refused_requests_total") == 1
    assert found.of("stub-1", "violations_total", kind="type") == 1
    assert found.of("stub-1", "rows_total") == 6
    assert found.of("stub-1", "request_duration_seconds_count") == 3
    assert found.of("stub-1", "state", state="ready") == 1
    assert found.of("stub-1", "restarts_total") == 0
    assert found.of("stub-1", "requests_in_flight") == 0
    assert found.get("ports", state="leased") == 1
    assert found.get("store_up") == 1
    assert 0 <= (found.get("reconciler_idle_seconds") or 0) < 10
    assert (found.get("process_resident_memory_bytes") or 0) > 1_000_000
    assert SECRET not in controller.call("GET", "/metrics").text


def test_counters_go_on_when_a_model_dies_and_end_with_its_deployment(
    controller: Controller,
) -> None:
    controller.deploy("stub-1")
    controller.deploy("stub-2")
    assert controller.predict("stub-1").status_code == 200
    for process in controller.processes("stub-1"):
        os.kill(process.pid, signal.SIGKILL)

    def restarted() -> Metrics:
        found = Metrics(controller)
        assert found.of("stub-1", "restarts_total") == 1
        assert found.of("stub-1", "state", state="ready") == 1
        return found

    until_sync(restarted, timeout=20, what="the model to be started again")
    assert controller.predict("stub-1").status_code == 200
    assert Metrics(controller).of("stub-1", "requests_total", outcome="answered") == 2
    controller.undeploy("stub-1")
    found = Metrics(controller)
    assert found.of("stub-1", "requests_total", outcome="answered") is None
    assert found.of("stub-2", "requests_total", outcome="answered") == 0
    controller.deploy("stub-1")
    assert Metrics(controller).of("stub-1", "requests_total", outcome="answered") == 0


def test_requests_without_an_answer_are_in_flight(controller: Controller) -> None:
    controller.deploy("slow-1")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(controller.predict, "slow-1")

        def asked() -> Metrics:
            found = Metrics(controller)
            assert found.of("slow-1", "requests_in_flight") == 1
            return found

        found = until_sync(asked, what="a request to be in flight")
        assert found.of("slow-1", "queue_requests") == 0
        assert (found.of("slow-1", "queue_bytes") or 0) > 0
        assert answer.result().status_code == 200
    found = Metrics(controller)
    assert (found.of("slow-1", "requests_in_flight"), found.of("slow-1", "queue_bytes")) == (0, 0)
    assert found.of("slow-1", "request_duration_seconds_bucket", le="1.0") == 0
    assert found.of("slow-1", "request_duration_seconds_bucket", le="+Inf") == 1


def test_openmetrics_is_written_for_those_who_ask_for_it(controller: Controller) -> None:
    controller.deploy("stub-1")
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    answer = controller.call("GET", "/metrics", headers={"accept": accept})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")
    names = {family.name for family in read_openmetrics(answer.text)}  # type: ignore[no-untyped-call]
    assert {"model_deployment_requests", "process_cpu_seconds"} <= names


def events(controller: Controller) -> list[dict[str, Any]]:
    """Every line of the log."""
    return [json.loads(line) for line in controller.logged().splitlines()]


def test_each_line_of_the_log_is_json_and_no_password_is_in_it(controllers: Controllers) -> None:
    controller = controllers(
        "",  # a registry of its own: MLflow has much to say as it makes one
        LOG_FORMAT="json",
        DOCUMENTS_URL=f"mongodb://user:{SECRET}@127.0.0.1:9/db?serverSelectionTimeoutMS=100",
    )
    controller.arguments = ["--deploy", "nothing-1"]
    controller.up()
    until_sync(lambda: "nothing-1" in controller.logged(), timeout=60, what="the first deploy")
    controller.call("POST", "/deploy/nothing/1", headers={"X-Request-Id": "mine"})
    controller.call("POST", "/undeploy/a%E2%80%AEb-1", headers={"Authorization": f"Basic {SECRET}"})
    controller.call("POST", "/model/no-1/feedback", json={"items": [{"label": SECRET}]})
    controller.call("POST", "/nothing-1", json={"x": SECRET})
    drain = "model_deployment.recording.drain"
    until_sync(lambda: drain in controller.drain_logged(), timeout=30, what="word of the drain")
    controller.terminate()
    found = events(controller)
    said = [json.loads(line) for line in controller.drain_logged().splitlines()]
    assert SECRET not in controller.logged() + controller.drain_logged()
    keys = set.intersection(*map(set, [*found, *said]))
    assert {"timestamp", "level", "logger", "message"} <= keys
    (told,) = [event for event in said if event["logger"] == drain]
    assert "document store" in told["message"]
    trail = {event["action"]: event for event in found if "action" in event}
    assert set(trail) == {"deploy", "undeploy", "feedback"}
    asked = trail["deploy"]
    assert (asked["model"], asked["version"], asked["status"]) == ("nothing", 1, 404)
    assert (asked["request_id"], asked["client"]) == ("mine", "127.0.0.1")
    assert trail["undeploy"]["model"] == "a\u202eb-1"


def test_the_trail_has_what_was_changed_and_how_many_things(controllers: Controllers) -> None:
    controller = controllers(LOG_FORMAT="json").up()
    controller.deploy("stub-1")
    items = [{"request_id": f"r{number}", "row": 0, "label": SECRET} for number in range(3)]
    controller.post("/model/stub-1/feedback", body={"items": items})
    controller.post("/model/stub-1/set_new_metrics", 201, body={"metrics": {"rmse": 1}})
    controller.call("DELETE", "/model/stub-1/captures", params={"request_id": "r1"})
    controller.get("/model/stub-1")
    controller.predict("stub-1")
    controller.undeploy("stub-1")
    trail = [event for event in events(controller) if "action" in event]
    assert [(event["action"], event["status"]) for event in trail] == [
        ("deploy", 200),
        ("feedback", 200),
        ("set_new_metrics", 201),
        ("erase", 200),
        ("undeploy", 200),
    ]
    assert all((event["model"], event["version"]) == ("stub", 1) for event in trail)
    assert trail[1]["items"] == 3
    assert SECRET not in controller.logged()
    changed = [event for event in events(controller) if "starting -> ready" in event["message"]]
    assert changed[0]["model"] == "stub"
    assert len(changed[0]["launch_id"]) > 3


def test_accept_header_malformed_gets_the_text_format(controllers: Controllers) -> None:
    controller = controllers().up()
    for accept in (
        "text/plain; version=zzz",
        "application/openmetrics-text; version=abc",
        "???",
        "",
    ):
        answer = controller.call("GET", "/metrics", headers={"Accept": accept})
        assert answer.status_code == 200
