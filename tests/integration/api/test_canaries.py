"""Secrets that nobody but their owner may see, looked for everywhere they must not be."""

import base64
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psutil

from tests.support import audit
from tests.support.harness import CALLER, OPERATOR, Controller, Controllers
from tests.support.ports import free_port
from tests.support.waiting import until_sync

CANARY = "c4n4ry-in-the-mine"
#: What no model, log, capture or answer may hold.
SECRETS = {CANARY, OPERATOR[1], CALLER[1]} | {
    base64.b64encode(":".join(user).encode()).decode() for user in (OPERATOR, CALLER)
}
ENVIRONMENT = {
    "MLFLOW_TRACKING_USERNAME": "somebody",
    "MLFLOW_TRACKING_PASSWORD": CANARY,
    "DATABRICKS_TOKEN": CANARY,
    "AWS_SECRET_ACCESS_KEY": CANARY,
    "MODEL_DEPLOYMENT_WEBHOOK_URL": f"https://hooks.example/{CANARY}",
    "MODEL_DEPLOYMENT_PASSWORD": CANARY,
    "MODEL_DEPLOYMENT_MLFLOW_WEBHOOK_SECRET": CANARY,
}
HEADERS = {
    "Content-Type": "application/json",
    "Cookie": f"session={CANARY}",
    "Proxy-Authorization": f"Basic {CANARY}",
}


def held(content: bytes) -> set[str]:
    """The secrets in something."""
    forms = {form for one in SECRETS for form in (one, quote(one))}
    return {form for form in forms if form.encode() in content}


def files(folder: Path) -> Iterator[Path]:
    """What a controller has written, but not the passwords' own files."""
    for path in folder.rglob("*"):
        if path.is_file() and "credentials" not in path.parts:
            yield path


def look(controller: Controller) -> None:
    """Everything on the disk, and everything that other programs of the machine see of processes."""
    found = {str(path): held(path.read_bytes()) for path in files(controller.data.parent)}
    assert not {path: secrets for path, secrets in found.items() if secrets}
    for marked in audit.marked_processes(controller.instance):
        assert not held(Path(f"/proc/{marked.pid}/environ").read_bytes())
    for process in psutil.Process(controller.pid).children(recursive=True):
        assert not held(Path(f"/proc/{process.pid}/cmdline").read_bytes())


def test_secrets_stay_where_they_belong(controllers: Controllers) -> None:
    controller = controllers().with_users()
    controller.variables = ENVIRONMENT
    controller.up()
    controller.deploy("echo-1")
    for body in ('{"instances": [1]}', '{"dataframe_records": [{"x": 1}]}', "{", '{"y": 1}'):
        for user in (OPERATOR, CALLER):
            answer = controller.call("POST", "/echo-1", content=body, auth=user, headers=HEADERS)
            assert not held(answer.content)
    assert (
        controller.call("POST", "/echo-1", content="{}", auth=("olga", CANARY)).status_code == 401
    )
    captures = "/model/echo-1/dataset?source=captured&format=jsonl"
    until_sync(lambda: controller.call("GET", captures).status_code == 200, what="captures")
    reads = (
        captures, "/model/echo-1", "/model/echo-1/logs", "/model/echo-1/events", "/model/echo-1/metrics",
        "/model/echo-1/degradation_report?format=json", "/model/echo-1/reports", "/ready", "/metrics",
        "/get_deployed_models", "/openapi.json",
    )  # fmt: skip
    for path in reads:
        answer = controller.call("GET", path, headers=HEADERS)
        assert answer.status_code == 200, path
        assert not held(answer.content), path
    (made,) = controller.get("/model/echo-1/reports")
    page = controller.call("GET", "/model/echo-1/degradation_report", params={"id": made["id"]})
    assert page.headers["content-type"].startswith("text/html")
    assert not held(page.content + str(page.headers).encode())
    look(controller)


def test_addresses_with_passwords_are_not_told(controllers: Controllers) -> None:
    """Stores and registries that do not answer, which is when their addresses are told."""
    controller = controllers(
        f"http://somebody:{CANARY}@127.0.0.1:{free_port()}",
        DOCUMENTS_URL=f"mongodb://somebody:{CANARY}@127.0.0.1:{free_port()}/documents",
        REGISTRY_TIMEOUT=3,
        LOG_LEVEL="DEBUG",
    ).with_users()
    controller.up()
    for path in ("/get_model_list", "/ready", "/model/x-1/metrics", "/"):
        assert not held(controller.call("GET", path).content)
    assert not held(controller.call("POST", "/deploy/x/1").content)
    until_sync(lambda: controller.get("/ready")["captures"]["error"], what="the store's absence")
    assert not held(controller.call("GET", "/ready").content)
    look(controller)
