"""Training data: copies that take too long, the columns of files, and the folders that are allowed."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from model_deployment.core.errors import RegistryUnavailable
from model_deployment.core.names import ModelKey
from model_deployment.registry import training_data as training_module
from model_deployment.registry.client import Registry
from model_deployment.registry.data_files import (
    NotRetrievable,
    allowed_folders,
    allowed_prefixes,
    column_names,
    containing,
    local_path,
    no_longer_read,
)
from model_deployment.registry.model_metrics import ModelMetrics
from model_deployment.registry.s3_objects import S3Object
from model_deployment.registry.training_data import TrainingDataFinder
from tests.support.waiting import until

KEY = ModelKey("m", 1)


class Server:
    """A registry whose artifacts come when they are let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.downloading = 0

    def get_model_version(self, name: str, version: str) -> Any:
        return SimpleNamespace(name=name, version=version, run_id="r", model_id=None, source="s")

    def get_run(self, run: str) -> Any:
        return SimpleNamespace(
            inputs=None,
            info=SimpleNamespace(artifact_uri="mlflow-artifacts:/r"),
            data=SimpleNamespace(metrics={"rmse": 1.0}),
        )

    def list_artifacts(self, run: str, path: str) -> Any:
        return [SimpleNamespace(path="dataset/a.csv", is_dir=False, file_size=None)]

    def download_artifacts(self, run: str, path: str, target: str) -> str:
        self.downloading += 1
        assert self.let_go.wait(30)
        file = Path(target) / "a.csv"
        file.write_text("x,y\n1,2\n")
        return str(file)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    it = Server()
    monkeypatch.setattr("model_deployment.registry.client.connect", lambda *_: it)
    monkeypatch.setattr(training_module, "_target", lambda *_: None)
    yield it
    it.let_go.set()


def registry() -> Registry:
    return Registry(
        tracking_uri="http://registry",
        registry_uri="http://registry",
        timeout=10,
        download_timeout=10,
    )


async def test_abandoned_copies_leave_nothing(server: Server, tmp_path: Path) -> None:
    it = TrainingDataFinder(registry(), timeout=0.2)
    for _ in range(4):
        with pytest.raises(RegistryUnavailable, match="fetch the training data of m-1"):
            await it.fetch(KEY, tmp_path)
    # Those that hang are not joined by more, and take nothing from look-ups.
    assert server.downloading == 2
    assert await ModelMetrics(it._registry).baseline(KEY) == {"rmse": 1.0}
    server.let_go.set()
    await until(lambda: not any(tmp_path.iterdir()))


async def test_concurrent_callers_share_one_download(server: Server, tmp_path: Path) -> None:
    it = TrainingDataFinder(registry())
    asking = [asyncio.create_task(it.cached(KEY, tmp_path / "f")) for _ in range(5)]
    await until(lambda: server.downloading == 1)
    server.let_go.set()
    found = await asyncio.gather(*asking)
    assert server.downloading == 1
    assert len(set(found)) == 1
    assert found[0] is not None
    assert found[0].path.read_text() == "x,y\n1,2\n"


@pytest.mark.parametrize(
    "entry",
    ["data", "/", "", "~/data", "ftp://host/", "gs://bucket/", "a\0", "s3://", "s3://b/../c"],
)
def test_allowed_folders_refuse_what_is_not_an_absolute_folder(entry: str) -> None:
    with pytest.raises(ValueError, match="cannot allow training data from"):
        TrainingDataFinder(registry(), allowed=[entry])


def test_web_addresses_are_ignored_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    allowed = ["https://u:secret@host/a?sig=secret", "/data", "s3://bucket/", "HTTP://host/"]
    TrainingDataFinder(registry(), allowed=allowed)
    assert allowed_folders(allowed) == [Path("/data")]
    assert allowed_prefixes(allowed) == [S3Object("bucket", "")]
    warnings = [one.getMessage() for one in caplog.records]
    assert len(warnings) == len(no_longer_read(allowed)) == 2
    assert all('mlflow.log_artifact("train.parquet", "dataset")' in text for text in warnings)
    assert "ignoring https://host/a?...: training data is no longer read" in warnings[0]
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/a/b.csv", "/a/b.csv"),
        ("file:///a/b%20c.csv", "/a/b c.csv"),
        ("file:/a.csv", "/a.csv"),
        ("FILE://localhost/a.csv", "/a.csv"),
        ("file://host/a.csv", None),
        ("file:a.csv", None),
        ("a.csv", None),
        ("https://host/a.csv", None),
        ("s3://bucket/a.csv", None),
        ("/a\0.csv", None),
        ("file:///a%00.csv", None),
        ("", None),
    ],
)
def test_local_path_of_a_source(text: str, path: str | None) -> None:
    assert local_path(text) == (Path(path) if path else None)


def test_containing_folder_is_found_with_links_followed(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (tmp_path / "link").symlink_to(inside)
    (inside / "out").symlink_to(outside)
    (inside / "circle").symlink_to("circle")
    assert containing(inside / "a.csv", [tmp_path / "link"]) == inside
    assert containing(tmp_path / "link" / "a.csv", [inside]) == inside
    for path in (inside, inside / "out" / "a.csv", inside / "circle", inside / ".." / "a.csv"):
        assert containing(path, [inside]) is None
    assert containing(inside / "a.csv", []) is None


@pytest.mark.parametrize(
    ("name", "content", "names"),
    [
        ("t.csv", b"a,b\n1,2\n", ["a", "b"]),
        ("t.csv", b'\xef\xbb\xbf"a, b","c"\r\n', ["a, b", "c"]),
        ("t.csv", b"", None),
        ("t.csv", b"\xff\xfe", None),
        ("t.parquet", b"", None),
        ("t.parquet", b"PAR1\0\0\0\0PAR1", None),
        ("t.parquet", b"PAR1" + b"\xff" * 60 + b"\x10\0\0\0PAR1", None),
    ],
)
def test_columns_of_a_file(
    tmp_path: Path, name: str, content: bytes, names: list[str] | None
) -> None:
    (tmp_path / name).write_bytes(content)
    if names is None:
        with pytest.raises(NotRetrievable):
            column_names(tmp_path / name)
    else:
        assert column_names(tmp_path / name) == names


def test_target_is_found_among_numbered_columns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inputs = SimpleNamespace(to_dict=lambda: [{"type": "double", "name": n} for n in (0, 1)])
    model = SimpleNamespace(signature=SimpleNamespace(inputs=inputs))
    monkeypatch.setattr("mlflow.models.Model.load", lambda uri: model)
    assert training_module._target(KEY, ["0", "1", "y"]) == "y"
