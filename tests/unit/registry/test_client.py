"""The registry's calls in time: with a client that answers when it is told to."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from model_deployment.core.errors import RegistryUnavailable, UnknownModel
from model_deployment.core.names import ModelKey
from model_deployment.registry.client import Registry
from model_deployment.registry.values import RegisteredVersion, in_words
from tests.support.waiting import until

KEY = ModelKey("m", 1)


class Page(list[Any]):
    """As MLflow's lists are."""

    token: str | None


class Absent(Exception):
    """As MLflow says that there is none."""

    error_code = "RESOURCE_DOES_NOT_EXIST"


class Server:
    """What MLflow would ask: look-ups answer at once, downloads when they are let go."""

    def __init__(self) -> None:
        self.downloading = 0
        self.versions = 0
        self.names = ["m", "diabetes", "Churn"]
        #: Versions whose metrics do not come, or fail.
        self.hangs: set[int] = set()
        self.broken: set[int] = set()
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()
        self.let_go = threading.Event()

    def client(self) -> Any:
        return SimpleNamespace(
            get_model_version=self._version,
            get_registered_model=self._model,
            search_model_versions=self._versions,
            get_run=self._run,
            search_runs=self._search,
            search_registered_models=self._models,
        )

    def _model(self, name: str) -> Any:
        if name not in self.names:
            raise Absent(f"Registered Model with name={name} not found")
        return SimpleNamespace(aliases={"best": "7"})

    def _models(self, *, max_results: int) -> Any:
        return [SimpleNamespace(name=name) for name in self.names]

    def _search(self, *_: Any, **__: Any) -> Any:
        raise OSError("it knows no such filter")

    def _version(self, name: str, version: str) -> Any:
        if name not in self.names or (self.versions and int(version) > self.versions):
            raise Absent(f"Model Version (name={name}, version={version}) not found")
        return SimpleNamespace(
            name=name, version=version, status="READY", creation_timestamp=0, run_id=f"run{version}"
        )

    def _versions(self, filter: str, *, max_results: int, **_: Any) -> Any:
        page = Page(self._version("m", str(version)) for version in range(1, self.versions + 1))
        page.token = None
        return page

    def _run(self, run_id: str) -> Any:
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            number = int(run_id.removeprefix("run"))
            if number in self.hangs:
                assert self.let_go.wait(30)
            if number in self.broken:
                raise OSError("connection reset")
            return SimpleNamespace(
                info=SimpleNamespace(run_id=run_id, experiment_id="1", status="FINISHED"),
                data=SimpleNamespace(metrics={"number": number}),
            )
        finally:
            with self._lock:
                self.at_once -= 1

    def download_artifacts(self, *, dst_path: str, **_: str) -> str:
        self.downloading += 1
        assert self.let_go.wait(30)
        (Path(dst_path) / "MLmodel").write_text("late")
        return dst_path


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    it = Server()
    monkeypatch.setattr("model_deployment.registry.client.connect", lambda *_: it.client())
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


def metrics_of(versions: list[RegisteredVersion]) -> dict[int, dict[str, float]]:
    return {version.key.version: version.metrics for version in versions}


async def test_metrics_are_requested_concurrently(server: Server) -> None:
    server.versions, server.hangs = 300, {300, 299, 298}
    listing = asyncio.create_task(registry().versions("m"))
    # These hold up none of the others; each was asked for twice.
    await until(lambda: server.at_once == 6 and server.most_at_once > 6)
    server.let_go.set()
    versions = await listing
    assert [version.key.version for version in versions] == [*range(300, 0, -1)]
    assert metrics_of(versions) == {number: {"number": number} for number in range(1, 301)}
    assert [version.key.version for version in versions if version.aliases] == [7]
    assert server.most_at_once <= 8


async def test_metrics_that_fail_or_are_late_are_left_out(server: Server) -> None:
    server.versions, server.hangs, server.broken = 20, {3, 17}, {5}
    versions = await registry(timeout=2).versions("m")
    assert metrics_of(versions) == {
        number: {} if number in (3, 5, 17) else {"number": number} for number in range(1, 21)
    }


async def test_a_registry_that_gives_no_metrics_still_lists(server: Server) -> None:
    server.versions, server.hangs = 20, {*range(1, 21)}
    assert [*metrics_of(await registry(timeout=1).versions("m")).values()] == [{}] * 20
    # Those left behind take no further ones.
    assert server.most_at_once == 8
    server.let_go.set()
    await until(lambda: server.at_once == 0)
    assert server.most_at_once == 8


async def test_a_download_that_is_given_up_clears_up_when_it_ends(
    server: Server, tmp_path: Path
) -> None:
    with pytest.raises(RegistryUnavailable):
        await registry(download_timeout=0.1).download(KEY, tmp_path / "partial")
    assert (tmp_path / "partial").exists()
    server.let_go.set()
    await until(lambda: not (tmp_path / "partial").exists())


async def test_empty_download_is_explained(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.let_go.set()
    monkeypatch.setattr(Path, "iterdir", lambda _: iter(()))  # as MLflow leaves it
    with pytest.raises(
        RegistryUnavailable, match="the artifact store is not mounted, or the files were removed"
    ):
        await registry().download(KEY, tmp_path / "partial")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("diabtes", "the registry has no model diabtes; did you mean diabetes?"),
        ("Diabetes", "the registry has no model Diabetes; did you mean diabetes?"),
        ("CHURN", "the registry has no model CHURN; did you mean Churn?"),
        ("qqqqqqqq", "the registry has no model qqqqqqqq"),
    ],
)
async def test_unknown_model_suggests_similar_names(server: Server, name: str, says: str) -> None:
    with pytest.raises(UnknownModel) as refused:
        await registry().version(ModelKey(name, 1))
    assert refused.value.detail == f"cannot look up {name}-1: {says}"
    with pytest.raises(UnknownModel) as refused:
        await registry().versions(name)
    assert refused.value.detail == f"cannot list the versions of {name}: {says}"


async def test_unknown_version_names_the_existing_ones(
    server: Server,
) -> None:
    server.versions = 4
    with pytest.raises(UnknownModel) as refused:
        await registry().version(ModelKey("m", 99))
    says = "cannot look up m-99: the registry has no version 99 of m, which has versions 1 to 4"
    assert refused.value.detail == says


async def test_missing_part_of_an_existing_version_keeps_its_message(
    server: Server,
) -> None:
    server.versions = 4

    def work(client: Any) -> None:
        raise Absent("Run 'abc' not found")

    with pytest.raises(UnknownModel, match="cannot look: the registry says: Run 'abc' not found"):
        await registry().ask("look", work, about=ModelKey("m", 4))


async def test_an_empty_registry_says_so(server: Server) -> None:
    server.names = []
    with pytest.raises(UnknownModel, match="the registry has no model m, nor any other"):
        await registry().version(KEY)


@pytest.mark.parametrize(
    ("versions", "words"),
    [
        ([], "no versions"),
        ([3], "version 3 only"),
        ([1, 2], "versions 1 to 2"),
        ([4, 2, 1, 3], "versions 1 to 4"),
        ([1, 3], "versions 1 and 3"),
        ([1, 2, 5, 6, 9], "versions 1 to 2, 5 to 6 and 9"),
        (range(1, 60, 2), "versions ..., 45, 47, 49, 51, 53, 55, 57 and 59"),
    ],
)
def test_versions_in_words(versions: list[int], words: str) -> None:
    assert in_words(versions) == words
