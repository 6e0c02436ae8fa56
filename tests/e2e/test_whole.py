"""The whole, without Docker: nginx, ``mlflow server``, mongod, and the controller by its entry point."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.audit import kill_all, marked_processes, read_state
from tests.support.left_out import leave_evidently_out
from tests.support.mongod import Mongod
from tests.support.nginx_gateway import Gateway
from tests.support.ports import claim_range, free_port
from tests.support.waiting import until_sync

ROOT = Path(__file__).parents[2]
ENTRY = ROOT / "entrypoint.sh"
ROWS = [
    [59, 2, 32.1, 101, 157, 93.2, 38, 4, 4.86, 87],
    [48, 1, 21.6, 87, 183, 103.2, 70, 3, 3.9, 69],
]
COLUMNS = ["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"]


class Stack:
    """All programs, and clients of the gateway by the names of users."""

    def __init__(self, folder: Path, ending: ExitStack) -> None:
        self._folder, self._ending = folder, ending
        self._mlflow = f"http://127.0.0.1:{free_port()}"
        self._first, self._last = claim_range(5)
        self._controller = free_port()
        self.mongod = Mongod(folder / "mongo")
        self.data = folder / "data"
        self.environment = {
            **{name: os.environ[name] for name in ("HOME", "LANG", "PYTHONPATH") if name in os.environ},
            "PATH": f"{Path(sys.executable).parent}:{os.defpath}",
            "MLFLOW_TRACKING_URI": self._mlflow,
            "MODEL_DEPLOYMENT_DATA_DIR": str(self.data),
            "MODEL_DEPLOYMENT_PORT": str(self._controller),
            "MODEL_DEPLOYMENT_PORTS": f"{self._first}-{self._last}",
            "MODEL_DEPLOYMENT_DOCUMENTS_URL": self.mongod.url,
        }  # fmt: skip
        self.users: dict[str, httpx.Client] = {}
        self.gateway = Gateway(
            folder / "gateway", f"127.0.0.1:{self._controller}", credentials=self.data / "credentials"
        )  # fmt: skip

    def up(self) -> None:
        """Start everything, in the order of who needs whom."""
        self.mongod.start()
        self._ending.callback(self.mongod.end)
        registry = self._folder / "mlflow"
        registry.mkdir()
        host, port = self._mlflow.removeprefix("http://").split(":")
        self._start(
            "mlflow",
            [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", port, "--workers", "1",
             "--backend-store-uri", f"sqlite:///{registry}/mlflow.db", "--serve-artifacts",
             "--artifacts-destination", registry / "artifacts"],
            MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
        )  # fmt: skip
        until_sync(self._registry_answers, timeout=90, what="mlflow server")
        self._make_users()
        self._run(sys.executable, "-m", "model_deployment.cli.demo")
        self._start("controller", [ENTRY])
        self._ending.callback(self._clear)
        self.gateway.start()
        self._ending.callback(self.gateway.end)
        until_sync(lambda: self.ask("caller", "GET", "/ready").status_code == 200, timeout=60,
                   what="the controller behind the gateway")  # fmt: skip

    def ask(self, user: str, method: str, path: str, **more: Any) -> httpx.Response:
        """One call through the gateway."""
        return self.users[user].request(method, path, **more)

    def _registry_answers(self) -> bool:
        try:
            return httpx.get(f"{self._mlflow}/health", verify=False).status_code == 200
        except httpx.HTTPError:
            return False

    def _make_users(self) -> None:
        said = self._run(ENTRY, "users", "init").splitlines()
        for name, _, password in (line.split() for line in said[-3:]):
            client = httpx.Client(
                base_url=self.gateway.url, auth=(name, password), timeout=120, trust_env=False
            )
            self.users[name] = self._ending.enter_context(client)
        stranger = httpx.Client(base_url=self.gateway.url, timeout=30, trust_env=False)
        self.users["stranger"] = self._ending.enter_context(stranger)

    def _run(self, *command: Any) -> str:
        done = subprocess.run(
            command, env=self.environment, cwd=self._folder, capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _start(self, name: str, command: list[Any], **more: str) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command, env=self.environment | more, cwd=self._folder, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

        def end() -> None:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)

        self._ending.callback(end)

    def _clear(self) -> None:
        instance = read_state(self.data / "state.db").instance
        if instance and marked_processes(instance):
            kill_all(instance)

    def log(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with ExitStack() as ending:
        # It takes seconds; examples/drift.py has it.
        leave_evidently_out(ending.enter_context(pytest.MonkeyPatch.context()))
        made = Stack(tmp_path_factory.mktemp("whole"), ending)
        made.up()
        yield made


def test_a_models_life_through_the_gateway(stack: Stack) -> None:
    """Deploy, predict, tell the truth, read reports and metrics, undeploy; each by who may."""
    listed = stack.ask("caller", "GET", "/get_model_list").json()
    assert [model["name"] for model in listed] == ["diabetes"]
    assert stack.ask("stranger", "POST", "/deploy/diabetes/1").status_code == 401
    assert stack.ask("caller", "POST", "/deploy/diabetes/1").status_code == 403
    deployed = stack.ask("admin", "POST", "/deploy/diabetes/1")
    assert (deployed.status_code, deployed.json()["state"]) == (200, "ready"), deployed.text
    assert deployed.json()["url"] == f"{stack.gateway.url}/diabetes-1"

    body = {"dataframe_split": {"columns": COLUMNS, "data": ROWS}}
    assert stack.ask("stranger", "POST", "/diabetes-1", json=body).status_code == 401
    answers = [
        stack.ask("caller", "POST", "/diabetes-1", json=body, headers={"X-Request-Id": f"w{n}"})
        for n in range(40)
    ]
    assert {answer.status_code for answer in answers} == {200}
    assert len(answers[0].json()["predictions"]) == 2
    refused = stack.ask("caller", "POST", "/diabetes-1", json={"age": "old"})
    assert (refused.status_code, refused.headers["content-type"]) == (
        422,
        "application/problem+json",
    )

    captured = "/model/diabetes-1/dataset?source=captured&format=jsonl"
    until_sync(lambda: len(rows(stack, captured)) == 80, what="the captures in MongoDB")
    with stack.mongod.client() as client:
        assert client.get_default_database()["captures"].count_documents({}) == 40
    labels = [
        {"request_id": f"w{n}", "row": row, "label": 150.0} for n in range(40) for row in (0, 1)
    ]
    told = stack.ask("caller", "POST", "/model/diabetes-1/feedback", json={"items": labels})
    assert told.json()["matched"] == 80
    report = stack.ask("caller", "GET", "/model/diabetes-1/degradation_report?format=json")
    assert report.status_code == 200, report.text
    assert report.json()["verdict"] in ("drift", "degraded")  # the same two patients forty times
    page = stack.ask(
        "caller", "GET", f"/model/diabetes-1/degradation_report?id={report.json()['id']}"
    )
    assert "sandbox" in page.headers["content-security-policy"]
    assert stack.ask("caller", "GET", "/model/diabetes-1/metrics").json()["baseline"]
    scraped = stack.ask("prometheus", "GET", "/metrics").text
    assert (
        'model_deployment_requests_total{model="diabetes",outcome="answered",version="1"} 40.0'
        in scraped
    )

    assert stack.ask("caller", "POST", "/undeploy/diabetes-1").status_code == 403
    assert stack.ask("admin", "POST", "/undeploy/diabetes-1").json()["state"] == "stopped"
    assert stack.ask("caller", "POST", "/diabetes-1", json=body).status_code == 404


def rows(stack: Stack, path: str) -> list[Any]:
    answer = stack.ask("admin", "GET", path)
    return (
        [json.loads(line) for line in answer.text.splitlines()] if answer.status_code == 200 else []
    )


def test_one_request_is_one_line_in_each_log_under_one_name(stack: Stack) -> None:
    traced = {"X-Request-Id": "traced"}
    answer = stack.ask("admin", "POST", "/undeploy/nothing-1", headers=traced)
    assert (answer.status_code, answer.headers["x-request-id"]) == (404, "traced"), answer.text

    def told() -> list[str]:
        lines = [json.loads(line) for line in stack.gateway.logged()]
        return [line["user"] for line in lines if line["request_id"] == "traced"]

    def noted() -> set[str]:
        lines = [line for line in stack.log("controller").splitlines() if line.startswith("{")]
        events = [json.loads(line) for line in lines]
        return {event["user"] for event in events if event.get("request_id") == "traced"}

    # Both note a request when the caller has its answer already.
    until_sync(lambda: told() == ["admin"], what="the gateway's line")
    until_sync(lambda: noted() == {"admin"}, what="the controller's line")


def test_the_entry_point_says_what_is_missing(stack: Stack) -> None:
    wide = {"MODEL_DEPLOYMENT_HOST": "0.0.0.0", "MODEL_DEPLOYMENT_CREDENTIALS_DIR": "none"}
    refused = subprocess.run(
        [ENTRY], env=stack.environment | wide, cwd=stack.data, capture_output=True, text=True, timeout=30,
        check=False,
    )  # fmt: skip
    assert refused.returncode == 1
    assert "users init" in refused.stderr
