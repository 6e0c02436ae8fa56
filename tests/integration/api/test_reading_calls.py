"""The calls that only tell: the registry's lists, a deployment, its log and events, the controller."""

import json
import re
import shlex
from datetime import UTC, datetime

import pytest

from tests.support.filled_registry import EXAMPLE, HOSTILE_NAMES, MANY, MODELS
from tests.support.harness import Controller
from tests.support.tools import check_problem

#: Every call of the issue's table.
#: Calls of one project of devices, by method.
OF_PROJECT = {
    "get": (
        "", "/models", "/activeModel", "/download/{model}/{file}", "/blobs/{sha256}", "/releases",
        "/releases/{number}", "/events", "/devices", "/devices/{device}", "/devices/{device}/logs",
        "/devices/{device}/updates", "/commands", "/getStats",
    ),
    "post": (
        "/setModel", "/releases/{number}/pause", "/releases/{number}/resume", "/releases/{number}/stop",
        "/enrolments", "/registerDevice", "/devices/{device}/revoke", "/devices/{device}/rotate",
        "/setDark", "/commands", "/messages",
    ),
    "patch": ("", "/devices/{device}"),
    "delete": ("", "/devices/{device}"),
}  # fmt: skip
CALLS = {
    ("get", "/projects"), ("post", "/projects"),
    *((method, f"/projects/{{project}}{path}") for method, paths in OF_PROJECT.items() for path in paths),
    ("get", "/get_model_list"), ("get", "/get_model_version_list/{model}"),
    ("post", "/deploy/{model}/{version}"), ("get", "/get_deployed_models"),
    ("post", "/undeploy/{name}"), ("post", "/{name}"), ("post", "/{name}/invocations"),
    ("get", "/model/{name}"), ("get", "/model/{name}/logs"),
    ("get", "/model/{name}/launches"), ("get", "/model/{name}/errors"), ("get", "/model/{name}/events"),
    ("get", "/model/{name}/metrics"), ("post", "/model/{name}/set_new_metrics"),
    ("post", "/model/{name}/feedback"), ("get", "/model/{name}/dataset"),
    ("get", "/model/{name}/degradation_report"), ("get", "/model/{name}/reports"),
    ("delete", "/model/{name}/captures"), ("get", "/compare/{model}"),
    ("get", "/health"), ("get", "/ready"), ("get", "/metrics"), ("get", "/environments"),
    ("get", "/version"), ("get", "/endpoints"), ("get", "/endpoints/{name}"),
    ("put", "/endpoints/{name}"), ("delete", "/endpoints/{name}"),
    ("post", "/endpoints/{name}/promote"), ("post", "/endpoints/{name}/rollback"),
    ("post", "/endpoints/{name}/pause"), ("post", "/endpoints/{name}/resume"),
    ("get", "/endpoints/{name}/rollouts"), ("get", "/endpoints/{name}/events"),
    ("get", "/endpoints/{name}/comparison"), ("post", "/set_model"), ("get", "/model_info"),
    ("post", "/mlflow/webhook"), ("get", "/model/{name}/drifted_rows"),
    ("get", "/deploy/{model}/{version}"), ("patch", "/model/{name}"),
    ("post", "/model/{name}/restart"), ("post", "/model/{name}/park"),
    ("post", "/v1/chat/completions"), ("post", "/v1/responses"), ("get", "/v1/models"),
    ("get", "/v1/models/{name}"), ("post", "/predict_timeseries"), ("post", "/upload_data"),
    ("get", "/datasets"), ("get", "/datasets/{sha256}"), ("delete", "/datasets/{sha256}"),
    ("get", "/datasets/{sha256}/report"), ("get", "/datasets/{sha256}/file"),
    ("post", "/api/run_flow/{flow_type}"), ("get", "/api/flow-runs"), ("get", "/api/flow-runs/{id}"),
    ("get", "/api/flow-runs/{id}/logs"), ("post", "/api/flow-runs/{id}/cancel"),
    ("post", "/api/flow-runs/{id}/retry"), ("get", "/api/flow-monitoring-data"),
    ("get", "/api/flow-project"), ("get", "/api/flow-project/settings"),
    ("put", "/api/flow-project/settings"), ("post", "/api/flow-project/settings/check"),
    ("get", "/api/flow-project/history"), ("get", "/api/flow-project/history/{number}"),
}  # fmt: skip


def test_the_list_of_models_is_the_registrys(controller: Controller) -> None:
    controller.deploy("stub-3")
    controller.deploy("stub-1")
    models = {model["name"]: model for model in controller.get("/get_model_list")}
    assert models["stub"] == {
        "name": "stub",
        "latest_version": 4,
        "aliases": {"champion": 2},
        "description": "answers what it is asked",
        "tags": {"team": "red"},
        "deployed_versions": [1, 3],
    }
    assert models.keys() >= {*MODELS, *HOSTILE_NAMES}
    assert models["many"]["latest_version"] == MANY
    assert models["many"]["deployed_versions"] == []


def test_the_list_of_versions_is_newest_first(controller: Controller) -> None:
    controller.deploy("stub-1")
    versions = controller.get("/get_model_version_list/stub")
    assert [version["version"] for version in versions] == [4, 3, 2, 1]
    newest, _, second, first = versions
    assert newest.keys() == {
        "version", "aliases", "status", "description", "tags", "user", "source", "run_id",
        "created_at", "metrics", "state",
    }  # fmt: skip
    assert (newest["status"], newest["state"], newest["aliases"]) == ("READY", None, [])
    assert newest["metrics"] == {"rmse": 1.5, "odd": None}  # NaN is no JSON
    assert newest["run_id"]
    assert second["aliases"] == ["champion"]
    assert (first["state"], first["run_id"]) == ("ready", None)
    assert datetime.fromisoformat(first["created_at"]).tzinfo is not None
    page = controller.call("GET", "/get_model_version_list/stub", params={"limit": 3})
    assert page.json() == versions[:3]
    assert page.headers["link"] == '</get_model_version_list/stub?limit=3&after=2>; rel="next"'
    last = controller.call("GET", page.headers["link"].partition(">")[0].strip("<"))
    assert (last.json(), last.headers.get("link")) == (versions[3:], None)


def test_a_deployment_tells_what_the_registry_says_of_it(controller: Controller) -> None:
    controller.deploy("stub-4")
    registered = controller.row("stub-4")["registered"]
    assert registered["metrics"] == {"rmse": 1.5}
    assert registered["flavors"] == {"python_function": ""}
    assert (registered["aliases"], registered["as_of"]) == ([], None)


def test_versions_of_a_model_that_is_not_there_are_404(controller: Controller) -> None:
    assert "nothing" in controller.get("/get_model_version_list/nothing", 404)["detail"]


def test_a_deployment_tells_its_signature_and_a_curl_line_that_works(
    controller: Controller,
) -> None:
    controller.deploy("a b.c_d-e-2")
    model = controller.row("a%20b.c_d-e-2")
    (column,) = model["signature"]["inputs"]
    assert column == {"type": "double", "name": "x", "required": True}
    assert model["input_example"] == EXAMPLE
    curl, *arguments = shlex.split(model["curl"])
    assert (curl, arguments[:2]) == ("curl", ["-X", "POST"])
    url, body = arguments[2], arguments[arguments.index("-d") + 1]
    name, _, value = arguments[arguments.index("-H") + 1].partition(": ")
    answer = controller.call("POST", url, content=body, headers={name: value})
    assert answer.json()["predictions"] == [1.5]


def test_the_log_is_text_of_the_newest_launch(controller: Controller) -> None:
    controller.deploy("many-6")
    path = "/model/many-6/logs"
    whole = controller.call("GET", path)
    assert whole.headers["content-type"].startswith("text/plain")
    assert "stub: loading" in whole.text
    last = controller.call("GET", path, params={"lines": 1})
    assert last.text == f"{whole.text.splitlines()[-1]}\n"
    controller.undeploy("many-6")
    assert controller.call("GET", path).text == whole.text
    controller.deploy("many-6")
    newest = controller.call("GET", path)
    assert newest.headers["x-launch-id"] != whole.headers["x-launch-id"]
    # The log of the launch before is still there.
    launches = controller.get("/model/many-6/launches")
    ids = [one["launch_id"] for one in launches[:2]]
    assert ids == [answer.headers["x-launch-id"] for answer in (newest, whole)]
    assert [one["ended_at"] is None for one in launches[:2]] == [True, False]
    assert launches[1]["started_at"] < launches[1]["ready_at"] < launches[1]["ended_at"]
    assert controller.call("GET", path, params={"launch": ids[1]}).text == whole.text
    controller.get(path, 404, launch="0" * 12)


def test_lines_of_a_log_are_found(controller: Controller) -> None:
    controller.deploy("many-6")
    path = "/model/many-6/logs"
    first, *_ = controller.get(path, format="json")
    assert first["at"] <= datetime.now(UTC).isoformat(timespec="milliseconds")
    assert first["text"].startswith("$ ")
    assert "Z $ " in controller.call("GET", path).text.splitlines()[0]
    (found,) = controller.get(path, search="STUB: loading", format="json")
    assert found["text"] == "stub: loading"
    assert controller.get(path, search="nothing like this", format="json") == []
    assert controller.get(path, level="error", format="json") == []
    assert controller.get(path, since="2100-01-01", format="json") == []
    assert len(controller.get(path, since="1h", format="json")) > 1
    tag = controller.call("GET", path, params={"search": "stub"}).headers["etag"]
    again = {"params": {"search": "stub"}, "headers": {"If-None-Match": tag}}
    assert controller.call("GET", path, **again).status_code == 304


@pytest.mark.parametrize(
    "path", ["logs?lines=0", "logs?lines=x", "logs?lines=1e9", "events?limit=0"]
)
def test_an_amount_that_cannot_be_used_is_refused(controller: Controller, path: str) -> None:
    controller.get(f"/model/stub-1/{path}", 422)


def test_the_events_tell_what_happened_newest_first(controller: Controller) -> None:
    controller.deploy("many-7")
    controller.undeploy("many-7")
    events = controller.get("/model/many-7/events")
    assert events[0].keys() == {
        "at", "previous", "state", "launch_id", "replica", "reason", "advice",
    }  # fmt: skip
    assert {event["replica"] for event in events} <= {0, None}
    assert [event["at"] for event in events] == sorted(
        (event["at"] for event in events), reverse=True
    )
    steps = [(event["previous"], event["state"]) for event in events[::-1]]
    changes = [step for step in steps if step[0] != step[1]]
    assert changes == [
        (None, "pending"),
        ("pending", "starting"),
        ("starting", "ready"),
        ("ready", "stopping"),
        ("stopping", "stopped"),
    ]
    assert all(event["reason"] for event in events)
    assert len(controller.get("/model/many-7/events", limit=2)) == 2


def test_the_controller_tells_of_itself(controller: Controller) -> None:
    assert controller.get("/health") == {"status": "ok"}
    assert controller.get("/version").keys() == {"model_deployment", "mlflow"}
    controller.deploy("stub-1")
    ready = controller.get("/ready")
    assert ready["status"] == "ready"
    assert ready["last_tick_seconds"] < 5
    assert ready["deployments"]["ready"] == 1
    first, last = controller.ports
    assert ready["ports"]["range"] == f"{first}-{last}"
    assert (ready["ports"]["leased"], ready["ports"]["blocked"]) == (1, [])


def test_the_documentation_needs_no_other_host(controller: Controller) -> None:
    for page in ("/docs", "/redoc"):
        answer = controller.call("GET", page)
        assert answer.status_code == 200
        sources = re.findall(r"""(?:src|href|url)\s*[=:]\s*["']([^"']+)""", answer.text)
        assert sources
        assert not [source for source in sources if "//" in source]
        for source in sources:
            assert controller.call("GET", source).status_code == 200


def test_the_description_of_the_api_lists_every_call_with_its_errors(
    controller: Controller,
) -> None:
    paths = controller.get("/openapi.json")["paths"]
    described = {(method, path) for path, methods in paths.items() for method in methods}
    assert described == CALLS
    for method, path in CALLS - {("get", "/health"), ("get", "/metrics"), ("get", "/version")}:
        call = paths[path][method]
        assert call["summary"]
        assert len(call["responses"]) > 1 or path == "/get_deployed_models", path
    assert "example" in json.dumps(paths["/{name}"])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing/at/all", 404),
        ("GET", "/stub-1", 405),
        ("DELETE", "/model/stub-1", 405),
        ("DELETE", "/deploy/stub/1", 405),
        ("GET", "/undeploy/stub-1", 405),
        ("PUT", "/health", 405),
        ("OPTIONS", "/deploy/stub/1", 405),
        ("TRACE", "/ready", 405),
    ],
)
def test_unknown_path_is_a_problem(
    controller: Controller, method: str, path: str, status: int
) -> None:
    assert check_problem(controller.call(method, path))["status"] == status


def test_only_post_asks_a_deployed_model(controller: Controller) -> None:
    controller.deploy("stub-1")
    for method in ("GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"):
        answer = controller.call(method, "/stub-1")
        assert answer.status_code == 405
        assert answer.headers["allow"] == "POST"
