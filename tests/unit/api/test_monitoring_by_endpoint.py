"""Metrics, feedback, datasets and reports that are asked for by the name of an endpoint."""

import csv
import io
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI

from model_deployment.api import datasets, monitoring, problems, reports
from model_deployment.api.datasets import DatasetCalls
from model_deployment.api.monitoring import MonitoringCalls
from model_deployment.api.names import Names
from model_deployment.core.endpoints import RolloutState
from model_deployment.core.errors import NotDeployed
from model_deployment.core.names import ModelKey
from model_deployment.documents.base import CapturedOn, Collection, Documents, Query
from model_deployment.documents.embedded import EmbeddedDocuments
from model_deployment.metrics.endpoint_feedback import EndpointFeedback
from model_deployment.metrics.feedback import Feedback
from model_deployment.metrics.service import Monitoring
from model_deployment.recording.reported_counts import ReportedCounts
from model_deployment.recording.windows import TrafficWindow
from tests.support.memory_endpoints import NAME, ROLLOUT, MemoryEndpoints, view_of

NOW = datetime.now(UTC).replace(microsecond=0)


class Reported:
    """In the place of the reporter: it has no reports."""

    def __init__(self) -> None:
        self.asked: list[ModelKey] = []
        self.begun: list[tuple[str, CapturedOn]] = []

    def begin(self, key: ModelKey, since: datetime, until: datetime, source: CapturedOn) -> str:
        self.begun.append((str(key), source))
        return "new"

    async def wait(self, key: ModelKey, id: str, seconds: float) -> None:
        return None

    async def get(self, key: ModelKey, id: str) -> None:
        return None

    def is_running(self, key: ModelKey, id: str) -> bool:
        return True

    async def list(self, key: ModelKey, limit: int, source: CapturedOn | None) -> list[Any]:
        self.asked.append(key)
        return []


class Desk:
    """The calls, with a store and an endpoint whose version 1 serves and whose version 2 is a candidate."""

    def __init__(self, documents: Documents) -> None:
        self.documents = documents
        self.endpoints = MemoryEndpoints(view_of())
        #: What arrives from the spool while labels wait: request id, version.
        self.on_its_way: list[tuple[str, int]] = []
        self.late = False
        self.reporter = Reported()
        self._number = 0
        measured = Monitoring(self, ReportedCounts(), baseline=self._baseline, write_back=None)
        feedback = Feedback(self)
        names = Names(self._get, self.endpoints, documents)
        self.app = FastAPI()
        problems.install(self.app)
        for router in (
            monitoring.router(
                MonitoringCalls(
                    cast(Any, None), measured, feedback, EndpointFeedback(feedback), names
                )
            ),
            datasets.router(DatasetCalls(names, self._no_training, documents)),
            reports.router(names, cast(Any, self.reporter)),
        ):
            self.app.include_router(router)

    async def opened(self) -> Documents:
        return self.documents

    async def caught_up(self, patience: float) -> bool:
        arriving, self.on_its_way = self.on_its_way, []
        for request_id, version in arriving:
            await self.captured(request_id, version, 1.0)
        return not self.late

    async def captured(
        self, request_id: str, version: int, prediction: float, endpoint: str = str(NAME)
    ) -> None:
        self._number += 1
        document = {
            **self._envelope(version), "request_id": request_id, "predictions": [prediction], "rows": 1,
            "columns": ["x"], "data": [[version]], "typed": True,
        }  # fmt: skip
        document |= {"endpoint": endpoint} if endpoint else {}
        await self.documents.insert(Collection.CAPTURES, [document])

    async def served(self, version: int, requests: int) -> None:
        self._number += 1
        window = {**self._envelope(version), **TrafficWindow(requests=requests).as_dict()}
        await self.documents.insert(Collection.TRAFFIC, [window])

    def _envelope(self, version: int) -> dict[str, Any]:
        moment = NOW - timedelta(hours=1) + timedelta(seconds=self._number)
        return {"_id": f"d{self._number}", "model": "diabetes", "version": version, "ts": moment}

    async def labels(self) -> dict[tuple[int, str], Any]:
        found = self.documents.find(Query(Collection.LABELS))
        return {(one["version"], one["request_id"]): one["label"] async for one in found}

    async def call(self, method: str, path: str, status: int = 200, **more: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
            answer = await client.request(method, f"/model/{path}", **more)
        assert answer.status_code == status, answer.text
        return answer

    async def tell(self, **labels: float) -> Any:
        items = [{"request_id": name, "label": label} for name, label in labels.items()]
        path = "diabetes@champion/feedback"
        return (await self.call("POST", path, json={"items": items})).json()

    async def table(self, query: str = "") -> list[dict[str, str]]:
        answer = await self.call("GET", f"diabetes@champion/dataset{query}")
        return [*csv.DictReader(io.StringIO(answer.text))]

    async def _get(self, key: ModelKey) -> None:
        if key.model == "edge":
            raise NotDeployed("cannot find it")

    async def _baseline(self, key: ModelKey) -> dict[str, float]:
        return {"mae": float(key.version)}

    async def _no_training(self, key: ModelKey) -> None:
        return None


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    documents = EmbeddedDocuments(tmp_path / "documents.db")
    await documents.open()
    yield Desk(documents)
    await documents.close()


async def test_each_label_goes_to_the_version_that_answered(desk: Desk) -> None:
    await desk.captured("a", 1, 1.5)
    await desk.captured("b", 2, 2.5)
    # A caller named the version: the answer is known all the same.
    await desk.captured("c", 2, 3.5, endpoint="")
    # Of no version of this endpoint.
    await desk.captured("d", 3, 4.5)
    desk.on_its_way = [("e", 1)]
    found = await desk.tell(a=1.0, b=2.0, c=3.0, d=4.0, e=1.0, f=6.0)
    assert (found["matched"], found["unmatched"], found["waiting"], found["ambiguous"]) == (
        4,
        2,
        0,
        0,
    )
    assert found["labelled_rows"] == 4
    assert "2 of the labels are not stored: no version of this endpoint" in found["note"]
    labels = {(1, "a"): 1.0, (2, "b"): 2.0, (2, "c"): 3.0, (1, "e"): 1.0}
    assert await desk.labels() == labels
    assert found["versions"]["1"]["metrics"]["mae"] == 0.25
    assert found["versions"]["2"]["metrics"]["mae"] == 0.5
    again = await desk.tell(a=1.0, b=2.5)
    assert (again["matched"], again["duplicate"]) == (2, 1)
    assert await desk.labels() == labels | {(2, "b"): 2.5}


async def test_a_request_that_several_versions_answered_is_ambiguous(desk: Desk) -> None:
    for version in (1, 2):
        await desk.captured("twice", version, 1.0)
        await desk.captured("once", version, 1.0, endpoint=str(NAME) if version == 2 else "")
    found = await desk.tell(twice=1.0, once=1.0)
    assert (found["matched"], found["ambiguous"]) == (1, 1)
    assert await desk.labels() == {(2, "once"): 1.0}


async def test_labels_of_requests_on_their_way_are_not_stored(desk: Desk) -> None:
    desk.late = True
    found = await desk.tell(a=1.0)
    assert (found["waiting"], found["unmatched"], found["versions"]) == (1, 0, {})
    assert "send them again" in found["note"]
    assert await desk.labels() == {}


async def test_metrics_are_those_of_all_versions(desk: Desk) -> None:
    await desk.captured("a", 1, 1.5)
    await desk.captured("b", 2, 2.5)
    await desk.tell(a=1.0, b=2.0)
    await desk.served(1, 95)
    await desk.served(2, 5)
    found = (await desk.call("GET", "diabetes@champion/metrics")).json()
    assert (found["name"], found["version"]) == ("diabetes@champion", 1)
    assert found["baseline"] == {"mae": 1.0}
    assert found["serving"]["total"]["requests"] == 100
    assert {one["version"] for one in found["history"]} == {1, 2}
    assert [*found["versions"]] == ["2", "1"]
    assert found["versions"]["2"]["baseline"] == {"mae": 2.0}
    assert found["versions"]["2"]["serving"]["total"]["requests"] == 5


async def test_versions_that_answered_nobody_are_left_out_of_metrics(desk: Desk) -> None:
    found = (await desk.call("GET", "diabetes@champion/metrics")).json()
    assert [*found["versions"]] == ["1"]


async def test_the_dataset_has_what_came_by_the_endpoint(desk: Desk) -> None:
    await desk.call("GET", "diabetes@champion/dataset", 404)
    await desk.captured("other", 1, 0.0, endpoint="diabetes@next")
    await desk.captured("direct", 1, 0.0, endpoint="")
    await desk.call("GET", "diabetes@champion/dataset", 404)
    await desk.captured("a", 1, 1.5)
    await desk.captured("b", 2, 2.5)
    await desk.captured("same", 1, 3.5)
    await desk.captured("same", 2, 4.5)
    await desk.call(
        "POST", "diabetes-2/feedback", json={"items": [{"request_id": "same", "label": 9}]}
    )
    table = await desk.table()
    assert [(row["request_id"], row["version"], row["prediction"], row["label"]) for row in table] == [
        ("a", "1", "1.5", ""), ("b", "2", "2.5", ""), ("same", "1", "3.5", ""), ("same", "2", "4.5", "9"),
    ]  # fmt: skip
    assert len(await desk.table("?limit=1")) == 1
    answer = await desk.call("GET", "diabetes@champion/dataset?format=parquet")
    assert 'filename="diabetes@champion-captured.parquet"' in answer.headers["content-disposition"]
    direct = await desk.call("GET", "diabetes-1/dataset")
    assert "version" not in direct.text.splitlines()[0].split(",")
    assert "other" in direct.text


async def test_reports_are_those_of_the_version_that_serves(desk: Desk) -> None:
    assert (await desk.call("GET", "diabetes@champion/reports")).json() == []
    assert desk.reporter.asked == [ModelKey("diabetes", 1)]


async def test_a_request_is_erased_whichever_version_answered(desk: Desk) -> None:
    await desk.captured("a", 1, 1.0)
    await desk.captured("a", 2, 1.0)
    path = "diabetes@champion/captures?request_id=a"
    assert (await desk.call("DELETE", path)).json() == {"erased": 2}


async def test_earlier_versions_are_known_by_their_rollouts(desk: Desk) -> None:
    promoted = replace(ROLLOUT, candidate=3, champion=2, state=RolloutState.PROMOTED)
    desk.endpoints.views[NAME] = replace(view_of(champion=3, previous=2), rollout=promoted)
    found = await Names(desk._get, desk.endpoints, desk.documents).find(str(NAME))
    assert (found.key.version, [key.version for key in found.keys]) == (3, [3, 2])


async def test_an_endpoint_without_a_version_says_so(desk: Desk) -> None:
    desk.endpoints.views[NAME] = view_of(champion=None)
    for path in ("metrics", "dataset", "reports", "degradation_report"):
        answer = await desk.call("GET", f"diabetes@champion/{path}", 404)
        assert "no version serves yet" in answer.json()["detail"]
    await desk.call("GET", "diabetes@nobody/metrics", 404)
    await desk.call("GET", "diabetes@no+body/metrics", 422)


async def _capture_on_device(desk: Desk, key: ModelKey, name: str) -> None:
    capture = {
        **desk._envelope(key.version), "_id": f"{key.model}-{name}", "model": key.model,
        "request_id": name, "predictions": [1], "rows": 1, "columns": ["x"], "data": [[1]],
        "device": "camera-7",
    }  # fmt: skip
    await desk.documents.insert(Collection.DEVICE_CAPTURES, [capture])


async def test_captures_of_devices_are_erased_also_of_a_version_that_is_not_deployed(
    desk: Desk,
) -> None:
    for version, model in ((1, "diabetes"), (2, "edge")):
        for name in ("a", "b"):
            await _capture_on_device(desk, ModelKey(model, version), name)
    for path in ("diabetes-1", "edge-2"):
        answer = await desk.call("DELETE", f"{path}/captures?request_id=a")
        assert answer.json() == {"erased": 1}
    left = desk.documents.find(Query(Collection.DEVICE_CAPTURES))
    assert sorted([one["_id"] async for one in left]) == ["diabetes-b", "edge-b"]
    await desk.call("DELETE", "edge-3/captures?request_id=a", 404)


async def test_a_report_about_devices_needs_no_deployment(desk: Desk) -> None:
    await _capture_on_device(desk, ModelKey("edge", 2), "a")
    answer = await desk.call("GET", "edge-2/degradation_report?source=devices", 202)
    where = "/model/edge-2/degradation_report?id=new&format=html&source=devices"
    assert answer.headers["location"] == where
    assert answer.json()["url"] == f"http://t{where}"
    await desk.call("GET", "diabetes-1/degradation_report", 202)
    await desk.call("GET", "diabetes-1/degradation_report?source=devices", 202)
    assert desk.reporter.begun == [
        ("edge-2", CapturedOn.DEVICES),
        ("diabetes-1", CapturedOn.SERVERS),
        ("diabetes-1", CapturedOn.DEVICES),
    ]
    for path in ("edge-2/degradation_report", "edge-3/degradation_report?source=devices"):
        await desk.call("GET", path, 404)
    await desk.call("GET", "edge-2/degradation_report?source=phones", 422)
