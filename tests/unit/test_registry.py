"""The registry's calls in time: with a client that answers when it is told to."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from model_deployment.domain import ModelKey
from model_deployment.errors import RegistryUnavailable
from model_deployment.registry import Registry
from tests.waiting import until

KEY = ModelKey("m", 1)


class Server:
    """What MLflow would ask: look-ups answer at once, downloads when they are let go."""

    def __init__(self) -> None:
        self.downloading = 0
        self.let_go = threading.Event()

    def client(self) -> Any:
        return SimpleNamespace(get_model_version=self._version)

    def _version(self, name: str, version: str) -> Any:
        return SimpleNamespace(
            name=name, version=version, status="READY", creation_timestamp=0, run_id=""
        )

    def download_artifacts(self, *, dst_path: str, **_: str) -> str:
        self.downloading += 1
        assert self.let_go.wait(30)
        (Path(dst_path) / "MLmodel").write_text("late")
        return dst_path


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    it = Server()
    monkeypatch.setattr("model_deployment.registry._connect", lambda *_: it.client())
    module = SimpleNamespace(artifacts=SimpleNamespace(download_artifacts=it.download_artifacts))
    monkeypatch.setitem(sys.modules, "mlflow", module)
    yield it
    it.let_go.set()


def registry(timeout: float = 10, download_timeout: float = 30) -> Registry:
    return Registry(
        tracking_uri="http://registry",
        registry_uri="http://registry",
        timeout=timeout,
        download_timeout=download_timeout,
    )


async def test_a_look_up_does_not_wait_for_downloads(server: Server, tmp_path: Path) -> None:
    it = registry()
    downloads = [
        asyncio.create_task(it.download(KEY, tmp_path / str(number))) for number in range(20)
    ]
    await until(lambda: server.downloading == 4)
    assert (await it.version(KEY)).key == KEY
    assert server.downloading == 4
    server.let_go.set()
    assert await asyncio.gather(*downloads) == [tmp_path / str(number) for number in range(20)]


async def test_downloads_that_hang_are_not_joined_by_more(server: Server, tmp_path: Path) -> None:
    it = registry(download_timeout=0.1)
    for number in range(8):
        with pytest.raises(RegistryUnavailable, match=r"within 0\.1 s"):
            await it.download(KEY, tmp_path / str(number))
    assert server.downloading == 4
