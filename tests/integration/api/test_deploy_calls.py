"""The calls that deploy, undeploy and predict, where all goes well or the caller is at fault."""

import json
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.echo_server import Echo
from tests.support.filled_registry import NO_ARTIFACTS, NO_MLMODEL, NOT_READY
from tests.support.harness import Controller, Controllers
from tests.support.tools import at_once, check_problem
from tests.support.waiting import until_sync

MEMBERS = {
    "name", "model", "version", "state", "desired", "url", "port", "pid", "container", "reason", "advice",
    "restarts", "created_at", "ready_at", "options", "deployed_by", "replacement", "replicas", "launches",
    "threads", "environment",
}  # fmt: skip


def test_deploy_answers_when_the_model_is_ready(controller: Controller) -> None:
    row = controller.deploy("wrapper-1")
    assert row.keys() == MEMBERS
    assert (row["name"], row["model"], row["version"]) == ("wrapper-1", "wrapper", 1)
    assert (row["state"], row["desired"], row["restarts"]) == ("ready", "running", 0)
    assert row["url"] == f"{controller.url}/wrapper-1"
    assert row["options"] == {
        "env_manager": "local",
        "start_method": "serve",  # of this controller
        "workers": 1,
        "replicas": 1,
        "threads": "auto",
        "memory_limit": "auto",
        "cpu_limit": "auto",
        "validation": "strict",
        "batch_max_rows": "auto",
        "capture_rate": 1.0,
        "capture_exclude": [],
        "capture_hash": [],
        "max_capture_bytes": 1024 * 1024,
        "retention_days": 30.0,
        "idle_timeout": 0.0,
    }
    assert controller.ports[0] <= row["port"] <= controller.ports[1]
    assert datetime.fromisoformat(row["created_at"]) <= datetime.fromisoformat(row["ready_at"])
    processes = controller.processes("wrapper-1")
    assert len(processes) == 2
    assert (
        row["pid"]
        in {process.pid for process in processes}
        == {process.pid for process in processes if process.pgid == row["pid"]}
    )


def test_predictions_reach_the_model_they_name_by_both_paths(controller: Controller) -> None:
    for key in ("stub-1", "stub-2", "other-1"):
        controller.deploy(key)
    for key in ("stub-1", "stub-2", "other-1"):
        answers = [
            controller.predict(key, 1, 2),
            controller.call("POST", f"/{key}/invocations", json={"inputs": [1, 2]}),
        ]
        for answer in answers:
            assert answer.status_code == 200
            assert answer.json()["predictions"] == [1, 2]
            assert answer.json()["model"] == key


def test_a_name_with_all_that_names_may_have_is_served(controller: Controller) -> None:
    row = controller.deploy("a b.c_d-e-12")
    assert row["name"] == "a b.c_d-e-12"
    assert row["url"] == f"{controller.url}/a%20b.c_d-e-12"
    assert controller.call("POST", row["url"], json={"inputs": [1]}).json()["model"] == row["name"]
    assert controller.undeploy("a%20b.c_d-e-12")["state"] == "stopped"


def test_deploy_without_waiting_answers_202_and_goes_on(controller: Controller) -> None:
    first = controller.deploy("slow-start-1", status=202, wait=0)
    assert first["state"] in ("pending", "starting")
    assert first["desired"] == "running"
    still = controller.deploy("slow-start-1", status=202, wait=0.3)
    assert still["state"] in ("pending", "starting")
    done = controller.deploy("slow-start-1")
    assert (done["state"], done["restarts"]) == ("ready", 0)


def test_a_model_that_is_starting_is_503_and_not_404(controller: Controller) -> None:
    controller.deploy("slow-start-2", status=202, wait=0)
    problem = check_problem(controller.predict("slow-start-2"))
    assert problem["status"] == 503
    assert "slow-start-2" in problem["detail"]


def test_the_same_deploy_again_is_the_same_deployment(controller: Controller) -> None:
    first = controller.deploy("many-1", workers=1)
    events = controller.events("many-1")
    again = [
        controller.deploy("many-1"),
        controller.deploy("many-1", workers=1),
        controller.deploy("many-1", env_manager="local"),
    ]
    assert again == [first] * 3
    assert controller.events("many-1") == events


@pytest.mark.parametrize("env_manager", ["local", "uv", "virtualenv", "conda"])
def test_options_reach_the_command_line_of_the_model_server(
    controller: Controller, env_manager: str
) -> None:
    row = controller.deploy("many-2", workers=3, env_manager=env_manager)
    assert row["options"].items() >= {"env_manager": env_manager, "workers": 3}.items()
    command = controller.processes("many-2")[0].cmdline
    assert "--workers 3" in command
    assert f"--env-manager {env_manager}" in command
    assert f"--port {row['port']}" in command
    assert "--host 127.0.0.1" in command


def test_a_model_server_knows_no_credentials(controller: Controller) -> None:
    controller.deploy("wrapper-1")
    for process in controller.processes("wrapper-1"):
        environment = Path(f"/proc/{process.pid}/environ").read_bytes()
        assert b"canary" not in environment
        assert b"MLFLOW_TRACKING_URI=none://name-MLFLOW_TRACKING_URI-in-" in environment


def test_a_model_is_served_from_the_local_copy(controller: Controller) -> None:
    controller.deploy("many-3")
    command = controller.processes("many-3")[0].cmdline
    path = Path(command.partition("--model-uri ")[2].partition(" ")[0])
    assert path.is_relative_to(controller.data / "models")
    assert (path / "MLmodel").is_file()
    for folder in (controller.data / "models", path.parent):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_other_options_are_a_conflict_until_undeployed(controller: Controller) -> None:
    before = controller.deploy("many-4", workers=2)
    problem = controller.deploy("many-4", status=409, workers=3)
    assert "many-4" in problem["detail"]
    assert problem["options"] == before["options"]
    assert controller.row("many-4")["pid"] == before["pid"]
    controller.undeploy("many-4")
    assert controller.deploy("many-4", workers=3)["options"]["workers"] == 3


@pytest.mark.parametrize(
    "body",
    ['{"workers": 0}', '{"validation": "loose"}', '{"batch_max_rows": -1}', '{"batch_max_rows": "9"}',
     '{"capture_rate": 2}', '{"capture_exclude": [""]}',
     '{"capture_hash": ["\\ud800"]}', '{"retention_days": 0}', '{"max_capture_bytes": 99999999}',
     '{"replicas": 0}', '{"replicas": "4-1"}', '{"replicas": {"min": 2, "max": 65}}', '{"replicas": true}',
     '{"memory_limit": "1MiB"}', '{"cpu_limit": 0}', '{"cpu_limit": "all"}', '{"cpu_limit": "0.5"}',
     '{"workers": "2"}', '{"workers": 1.5}', '{"env_manager": "docker"}',
     '{"shell": "sh"}', '{"workers": 1', "[]", '"uv"', "workers=1"],
)  # fmt: skip
def test_options_that_cannot_be_used_are_refused(controller: Controller, body: str) -> None:
    headers = {"content-type": "application/json"}
    answer = controller.call("POST", "/deploy/many/5", content=body, headers=headers)
    assert check_problem(answer)["status"] == 422
    assert answer.json()["errors"]
    controller.get("/model/many-5", 404)


#: What Java's HttpClient and ``curl --http2`` send with every request.
H2C = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAA"}


@pytest.mark.parametrize("chunked", [False, True])
def test_an_offer_to_speak_http_2_costs_no_options(controller: Controller, chunked: bool) -> None:
    body = b'{"capture_hash": ["age"], "validation": "observe"}'
    headers = H2C | {"content-type": "application/json"}
    pieces = iter([body[:7], body[7:]])
    answer = controller.call(
        "POST", "/deploy/many/6", content=pieces if chunked else body, headers=headers
    )
    try:
        assert answer.status_code == 200, answer.text
        assert answer.json()["options"]["capture_hash"] == ["age"]
        padded = b'{"instances": [1]' + b" " * 300_000 + b"}"
        for content in (padded, iter([padded])):
            told = controller.call("POST", "/many-6", content=content, headers=headers)
            assert told.json()["predictions"] == [1]
    finally:
        controller.undeploy("many-6")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
def test_options_that_would_not_be_read_start_nothing(
    controller: Controller, headers: dict[str, str]
) -> None:
    body = b'{"capture_hash": ["age"]}'
    answer = controller.call("POST", "/deploy/many/5", content=body, headers=headers)
    assert check_problem(answer)["status"] == 415
    assert controller.call("GET", "/model/many-5").json().get("desired") != "running"


def test_options_in_the_query_or_twice_start_nothing(controller: Controller) -> None:
    assert (
        "options belong in a JSON body"
        in controller.post("/deploy/many/5", 422, workers=2)["detail"]
    )
    twice = b'{"capture_hash": ["age"], "capture_hash": []}'
    headers = {"content-type": "application/json"}
    answer = controller.call("POST", "/deploy/many/5", content=twice, headers=headers)
    assert "twice" in check_problem(answer)["detail"]
    assert controller.call("GET", "/model/many-5").json().get("desired") != "running"


def test_a_body_that_is_too_large_is_refused(controller: Controller) -> None:
    body = b" " * (10 * 1024 * 1024 + 1)
    answer = controller.call("POST", "/deploy/many/5", content=body)
    assert check_problem(answer)["status"] == 413


@pytest.mark.parametrize("wait", ["-1", "soon", "nan", "inf", "1e9"])
def test_a_wait_that_cannot_be_used_is_refused(controller: Controller, wait: str) -> None:
    problem = controller.post("/deploy/many/5", 422, wait=wait)
    assert "wait" in problem["detail"]


def test_what_the_registry_does_not_have_is_404(controller: Controller) -> None:
    assert "stub-99" in controller.deploy("stub-99", status=404)["detail"]
    assert "nothing-1" in controller.deploy("nothing-1", status=404)["detail"]
    assert controller.get("/get_deployed_models") == []


def test_a_version_that_is_not_ready_in_the_registry_is_a_conflict(controller: Controller) -> None:
    problem = controller.deploy(f"{NOT_READY}-1", status=409)
    assert "PENDING_REGISTRATION" in problem["detail"]


def test_a_version_without_usable_artifacts_fails_with_the_cause(controllers: Controllers) -> None:
    controller = controllers(TRIES=2).up()
    missing, odd = at_once(
        lambda key: controller.deploy(key, status=502), (f"{NO_ARTIFACTS}-1", f"{NO_MLMODEL}-1")
    )
    assert "its artifacts cannot be read" in missing["reason"]
    assert "MLmodel" in odd["reason"]
    assert controller.processes() == []


def test_undeploy_answers_when_it_is_gone(controller: Controller) -> None:
    port = controller.deploy("wrapper-1")["port"]
    row = controller.undeploy("wrapper-1")
    assert row.keys() == MEMBERS
    assert (row["state"], row["desired"]) == ("stopped", "stopped")
    assert (row["port"], row["pid"], row["ready_at"]) == (None, None, None)
    assert controller.leftovers() == []
    assert check_problem(controller.predict("wrapper-1"))["status"] == 404
    assert controller.get("/get_deployed_models") == []
    resting = controller.get("/get_deployed_models", stopped=True)
    assert "wrapper-1" in {row["name"] for row in resting}
    assert controller.undeploy("wrapper-1")["state"] == "stopped"
    assert controller.deploy("wrapper-1")["port"] >= port


def test_undeploy_without_waiting_answers_202(controller: Controller) -> None:
    controller.deploy("stub-1")
    row = controller.undeploy("stub-1", status=202, wait=0)
    assert row["desired"] == "stopped"
    controller.wait_for("stub-1", "stopped", timeout=2)


@pytest.mark.parametrize("key", ["nothing-1", "stub-77", "stub"])
def test_unknown_deployment_is_404_everywhere(controller: Controller, key: str) -> None:
    controller.undeploy(key, status=404)
    controller.post(f"/{key}", 404, {"inputs": [1]})
    controller.post(f"/{key}/invocations", 404, {"inputs": [1]})
    for path in (f"/model/{key}", f"/model/{key}/logs", f"/model/{key}/events"):
        controller.get(path, 404)


@pytest.mark.parametrize("name", ["stub@nothing", "stub", "stub-01"])
def test_unknown_endpoint_says_how_to_make_one(controller: Controller, name: str) -> None:
    for path in (f"/{name}", f"/{name}/invocations"):
        detail = controller.post(path, 404, {"inputs": [1]})["detail"]
        assert ("PUT /endpoints/stub@nothing" if "@" in name else "set_model") in detail
    controller.post("/stub%40nothing", 404, {"inputs": [1]})


def test_a_deployment_that_failed_can_be_deployed_again(controllers: Controllers) -> None:
    """The webhook is told of both."""
    receiver = Echo()
    receiver.start()
    url = f"http://{receiver.address}/hook"
    controller = controllers(TRIES=1, WEBHOOK_URL=url, WEBHOOK_PRIVATE=True).up()
    flaky = controller.data / "work" / "flaky"
    flaky.touch()
    controller.deploy("flaky-1", status=502)
    assert controller.row("flaky-1")["state"] == "failed"
    assert check_problem(controller.predict("flaky-1"))["status"] == 503
    flaky.unlink()
    assert controller.deploy("flaky-1")["state"] == "ready"
    controller.undeploy("flaky-1")
    until_sync(lambda: len(receiver.seen) == 2, what="both alerts")
    receiver.stop()
    failed, recovered = (json.loads(one.body) for one in receiver.seen)
    assert (failed["event"], failed["model"], failed["version"]) == (
        "deployment_failed",
        "flaky",
        1,
    )
    assert "in the way" in failed["reason"]
    assert recovered["event"] == "deployment_recovered"
