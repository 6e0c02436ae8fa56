"""The client against a running controller."""

import asyncio
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from model_deployment.client import ApiError, AsyncClient, Client
from tests.support.harness import OPERATOR, Controller
from tests.support.waiting import until_sync


def test_a_model_is_deployed_asked_told_the_truth_and_undeployed(
    controller: Controller, tmp_path: Path
) -> None:
    with Client(controller.url) as client:
        assert "stub" in {model["name"] for model in client.models()}
        assert [one["version"] for one in client.versions("other", limit=2)] == [2, 1]
        row = client.deploy("stub", 1, idle_timeout="12h")
        assert (row["state"], row["options"]["idle_timeout"]) == ("ready", 43200)
        assert [one["name"] for one in client.deployments(model="stub", limit=5)] == ["stub-1"]
        frame = pd.DataFrame({"x": [1.5, 2.5, 3.5]}, index=["a", "b", "c"])
        found = client.predict("stub-1", frame, rows_per_request=2)
        assert found.to_series().to_dict() == {"a": 1.5, "b": 2.5, "c": 3.5}
        assert (found.model_version, len(found.requests)) == (1, 2)

        answer = client.feedback("stub-1", found, pd.Series([4.0, 1.0], index=["c", "a"]))
        assert answer["matched"] + answer["waiting"] == 2
        ids = {one.request_id for one in found.requests}
        until_sync(lambda: ids <= _captured(client).keys(), what="the captures in the store")
        assert _captured(client)[found.requests[1].request_id]["label"] == 4
        saved = client.save_dataset("stub-1", tmp_path / "rows.csv", source="captured", limit=2)
        assert len(pd.read_csv(saved)) == 2
        until_sync(
            lambda: client.metrics("stub-1")["serving"]["total"]["requests"] == 2, what="metrics"
        )
        report = client.report("stub-1", since="1h")
        assert client.report("stub-1", id=report.id).verdict == report.verdict
        assert report.id in {one["id"] for one in client.reports("stub-1")}
        shown = client.deployment("stub-1")
        assert shown["signature"]
        assert client.change("stub-1", idle_timeout=None)["options"]["idle_timeout"] == 0
        assert client.restart("stub-1")["state"] == "ready"
        assert client.deployment("stub-1")["pid"] != shown["pid"]
        assert len(client.launches("stub-1")) > 1
        assert client.deploy_needs("stub", 2)["memory_needed"] > 0
        assert client.log_lines("stub-1", lines=5)
        assert client.errors("stub-1") == []
        assert client.events("stub-1")[0]["state"] == "ready"
        assert client.logs("stub-1").launch_id
        assert client.undeploy("stub-1")["state"] == "stopped"


def _captured(client: Client) -> dict[str, Any]:
    try:
        rows = client.dataset("stub-1", source="captured")
    except ApiError:
        return {}
    return {row["request_id"]: row for row in rows}


def test_a_deploy_that_fails_says_why_with_the_log(controller: Controller) -> None:
    with Client(controller.url) as client, pytest.raises(ApiError) as raised:
        client.deploy("no-library", 1)
    assert raised.value.status == 502
    assert raised.value.problem["reason"]
    assert any("no_such_library" in note for note in raised.value.__notes__)


async def test_tasks_share_a_client(controller: Controller) -> None:
    async with AsyncClient(controller.url) as client:
        await client.deploy("stub", 2)
        found = await asyncio.gather(*(client.predict("stub-2", [number]) for number in range(30)))
        assert [one.to_list() for one in found] == [[number] for number in range(30)]


def test_passwords_come_from_the_environment(
    guarded: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client(guarded.url) as client, pytest.raises(ApiError) as raised:
        client.ready()
    assert raised.value.status == 401
    monkeypatch.setenv("MODEL_DEPLOYMENT_URL", guarded.url)
    monkeypatch.setenv("MODEL_DEPLOYMENT_USER", OPERATOR[0])
    monkeypatch.setenv("MODEL_DEPLOYMENT_PASSWORD", OPERATOR[1])
    with Client() as client:
        assert client.ready()["status"] == "ready"
