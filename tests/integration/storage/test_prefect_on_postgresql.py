"""The service of flows with Prefect's database in PostgreSQL, which is killed in the middle of a run."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg2
import pytest

from tests.support.flow_runs import SETTINGS
from tests.support.missing import missing
from tests.support.prefect_engine import PYTHON
from tests.support.storage_profile import StorageProfile
from tests.support.waiting import until_sync

pytestmark = pytest.mark.slow


@pytest.fixture
def service(profile: StorageProfile, tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of the service's Prefect, with the user and database of the profile."""
    if not PYTHON.exists():
        missing("the flows' environment is not installed (make flows-dev)")
    data, project = tmp_path / "data", tmp_path / "project"
    for folder in (data, project):
        folder.mkdir()
    (project / "settings.yaml").write_text(SETTINGS)
    environment = {
        **profile.environment,
        "MODEL_DEPLOYMENT_DATA_DIR": str(data),
        "MODEL_DEPLOYMENT_FLOWS_PROJECT": str(project),
        "MLFLOW_TRACKING_URI": f"sqlite:///{data}/mlflow.db",
    }
    serve = (str(PYTHON), "-m", "model_deployment_flows", "serve", "--idle-timeout", "0")
    command = profile.command("run", "prefect", *serve)
    process = subprocess.Popen(command, env=environment, start_new_session=True)

    def ready() -> Any:
        if process.poll() is not None:
            raise RuntimeError((data / "flows/service.log").read_text())
        content = json.loads((data / "flows/service.json").read_bytes())
        return content if content["state"] == "ready" else None

    try:
        content = until_sync(ready, timeout=150, interval=0.2, what="the service of flows")
        user, _, password = content["auth"].partition(":")
        with httpx.Client(
            base_url=content["api_url"], auth=(user, password), timeout=20, trust_env=False
        ) as client:
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    password = profile.key("prefect/prefect.password")
    assert password not in (data / "flows/service.log").read_text()
    assert not (data / "flows/prefect/prefect.db").exists()


@pytest.mark.timeout(400)
def test_a_run_ends_although_postgresql_was_killed(
    profile: StorageProfile, service: httpx.Client
) -> None:
    flow = service.get("/deployments/name/data_flow/model-deployment").raise_for_status().json()
    body = {"parameters": {"experiment": "unknown"}}
    answer = service.post(f"/deployments/{flow['id']}/create_flow_run", json=body)
    run = answer.raise_for_status().json()["id"]

    def state(*expected: str) -> Any:
        answer = service.get(f"/flow_runs/{run}")
        assert answer.is_success, answer.text
        return answer.json() if answer.json()["state_type"] in expected else None

    until_sync(lambda: state("PENDING", "RUNNING"), timeout=60, what="the run to begin")
    profile.postgresql.kill()
    profile.postgresql.start()
    ended = until_sync(lambda: state("FAILED"), timeout=120, interval=0.3, what="the run to end")
    assert "unknown" in ended["state"]["message"]
    connection = psycopg2.connect(profile.postgresql.url("prefect", "postgresql"))
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT state_type FROM flow_run WHERE id = %s", [run])
        assert cursor.fetchone() == ("FAILED",)
    connection.close()
