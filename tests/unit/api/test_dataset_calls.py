"""The call for a dataset: nothing half, and problems as documents."""

import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
import uvicorn
from fastapi import FastAPI

from model_deployment.api import datasets, problems
from model_deployment.api.names import Names
from model_deployment.core.errors import NotDeployed, RegistryUnavailable
from model_deployment.datasets import captured as captured_module
from model_deployment.documents.base import Collection
from tests.support.memory_documents import MemoryDocuments
from tests.support.memory_endpoints import MemoryEndpoints


class DatasetApi:
    """A router with what it needs."""

    def __init__(self, tmp_path: Path) -> None:
        self.documents = MemoryDocuments()
        self.file: Path | None = None
        self.registry_away = False
        self._folder = tmp_path
        self.app = FastAPI()
        problems.install(self.app)
        self.app.include_router(
            datasets.router(
                datasets.DatasetCalls(
                    names=Names(self._get, MemoryEndpoints(), self.documents.store),
                    find_training=self._find,
                    documents=self.documents.store,
                )
            )
        )

    def train(self) -> None:
        self.file = self._folder / "training.csv"
        self.file.write_text("x\n1\n2\n")

    async def _get(self, key: Any) -> Any:
        if key.model not in ("m", "m x"):
            raise NotDeployed("cannot find it")

    async def _find(self, key: Any) -> Any:
        if self.registry_away:
            raise RegistryUnavailable("cannot ask", retry_after=10)
        return SimpleNamespace(path=self.file) if self.file else None

    async def get(self, path: str) -> httpx.Response:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
            return await client.get(path)


@pytest.fixture
def api(tmp_path: Path) -> DatasetApi:
    return DatasetApi(tmp_path)


async def test_training_data_come_before_captures(api: DatasetApi) -> None:
    api.train()
    api.documents.capture("a", ["x"], [[5]], [0])
    answer = await api.get("/model/m-1/dataset")
    assert answer.content == b"x\r\n1\r\n2\r\n"
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="m-1-training.csv"'
    answer = await api.get("/model/m-1/dataset?source=captured&format=jsonl")
    assert answer.json()["x"] == 5
    assert answer.headers["content-disposition"] == 'attachment; filename="m-1-captured.jsonl"'
    answer = await api.get("/model/m-1/dataset?since=2026-01-01")
    assert answer.headers["x-dataset-source"] == "captured"
    api.file = None
    answer = await api.get("/model/m-1/dataset?format=parquet")
    assert pq.read_table(io.BytesIO(answer.content))["x"].to_pylist() == [5]


async def test_captures_of_devices_are_a_dataset_of_their_own(api: DatasetApi) -> None:
    api.train()
    api.documents.capture("a", ["x"], [[5]], [0])
    answer = await api.get("/model/m-1/dataset?source=devices")
    assert answer.status_code == 404
    assert "devices have sent no captures of it" in answer.json()["detail"]
    api.documents.capture("b", ["x"], [[6]], [1])
    of_device = api.documents.kept[Collection.CAPTURES].pop()
    # The second version is on devices only.
    api.documents.kept[Collection.DEVICE_CAPTURES] += [of_device, of_device | {"model": "edge"}]
    api.documents.label("b", 0, 7)
    for path in ("m-1", "edge-1"):
        answer = await api.get(f"/model/{path}/dataset?source=devices&format=jsonl")
        found = answer.json()
        assert (found["request_id"], found["x"], found["prediction"]) == ("b", 6, 1)
        assert answer.headers["x-dataset-source"] == "devices"
    assert (await api.get("/model/edge-1/dataset")).status_code == 404
    assert (await api.get("/model/other-1/dataset?source=devices")).status_code == 404
    answer = await api.get("/model/m-1/dataset?source=captured&format=jsonl")
    assert answer.json()["request_id"] == "a"


async def test_a_name_with_a_blank_is_a_safe_file_name(api: DatasetApi) -> None:
    api.train()
    answer = await api.get("/model/m%20x-1/dataset?limit=1")
    assert answer.headers["content-disposition"] == 'attachment; filename="m_x-1-training.csv"'
    assert answer.content == b"x\r\n1\r\n"


async def test_windows(api: DatasetApi) -> None:
    for number in range(3):
        api.documents.capture(str(number), ["x"], [[number]], [0])
    answer = await api.get(
        "/model/m-1/dataset?format=jsonl&since=2026-01-31T12:00:01Z&until=2026-01-31T13:00:02+01:00"
    )
    assert [json.loads(line)["x"] for line in answer.content.splitlines()] == [1]
    # Nothing in it: a file all the same.
    answer = await api.get("/model/m-1/dataset?since=1s")
    assert answer.status_code == 200
    assert answer.content.count(b"\r\n") == 1


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 404),
        ("?source=training", 404),
        ("?source=captured", 404),
        ("?since=24h", 404),
        ("?source=else", 422),
        ("?format=xlsx", 422),
        ("?limit=0", 422),
        ("?limit=x", 422),
        ("?since=yesterday", 422),
        ("?until=", 422),
        ("?since=1h&until=2h", 422),
        ("?source=training&since=1h", 422),
    ],
)
async def test_dataset_that_cannot_be_made_is_a_problem_document(
    api: DatasetApi, query: str, status: int
) -> None:
    answer = await api.get(f"/model/m-1/dataset{query}")
    assert answer.status_code == answer.json()["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"].startswith("cannot ")


async def test_dataset_of_an_unknown_deployment_is_a_problem_document(api: DatasetApi) -> None:
    assert (await api.get("/model/other-1/dataset")).status_code == 404


async def test_registry_or_store_away_is_a_problem_document(api: DatasetApi) -> None:
    api.documents.capture("a", ["x"], [[5]], [0])
    api.registry_away = True
    # Whether there are training data is not known: the captures are not what was asked for.
    assert (await api.get("/model/m-1/dataset")).status_code == 503
    assert (await api.get("/model/m-1/dataset?source=captured")).status_code == 200
    api.documents.breaks_after = 0
    answer = await api.get("/model/m-1/dataset?source=captured")
    assert answer.status_code == 503
    assert "document store" in answer.json()["detail"]


async def test_training_data_that_cannot_be_read_are_a_problem(api: DatasetApi) -> None:
    api.train()
    assert api.file is not None
    api.file.write_text("x\n1,2\n")
    answer = await api.get("/model/m-1/dataset")
    assert answer.status_code == 404
    assert "more cells" in answer.json()["detail"]


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")
        )
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_dataset_stream_that_fails_is_aborted(
    api: DatasetApi, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captured_module, "_COLUMNS_FROM", 2)
    monkeypatch.setattr(captured_module, "_CAPTURES", 1)
    for number in range(5):
        api.documents.capture(str(number), ["x"], [[number]], [0])
    api.documents.breaks_after = 3
    with served(api.app) as url:
        had: list[bytes] = []
        with httpx.stream("GET", f"{url}/model/m-1/dataset?format={format}") as answer:
            assert answer.status_code == 200
            with pytest.raises(httpx.RemoteProtocolError):
                had.extend(answer.iter_raw())
        assert b"2026-01-31" in b"".join(had)
    assert api.documents.open_streams == 0


def test_dataset_stream_is_closed_when_the_caller_leaves(
    api: DatasetApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captured_module, "_CAPTURES", 1)
    for number in range(2000):
        api.documents.capture(str(number), ["x"], [["x" * 100_000]], [0])
    with served(api.app) as url:
        with httpx.stream("GET", f"{url}/model/m-1/dataset?source=captured") as answer:
            next(answer.iter_raw())
        end = time.monotonic() + 20
        while api.documents.open_streams and time.monotonic() < end:
            time.sleep(0.02)
    assert api.documents.open_streams == 0
