"""What MLflow knows of a model's making, with a real registry: and what it must not make us read."""

import contextlib
import json
import math
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from model_deployment.core.errors import RegistryUnavailable, UnknownModel
from model_deployment.core.names import ModelKey
from model_deployment.registry import training_data as training_module
from model_deployment.registry.client import Registry
from model_deployment.registry.mlflow_client import create_database
from model_deployment.registry.training_data import DEPLOYED, Training

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's

ROWS = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [1, 2, 1], "y": [0.5, 1.5, 2.5]})
CSV = ROWS.to_csv(index=False).encode()


def empty(folder: Path) -> bool:
    return not folder.exists() or not any(folder.iterdir())


class Lab:
    """Makes runs and registers versions."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.uri = f"sqlite:///{root / 'mlflow.db'}"
        create_database(self.uri)
        import mlflow

        self.be_the_default()
        self.client = mlflow.MlflowClient(self.uri, self.uri)
        self.experiment = self.client.create_experiment(
            "lab", artifact_location=(root / "artifacts").as_uri()
        )
        self._made = 0

    def be_the_default(self) -> None:
        """For MLflow's own functions; other tests of this process have theirs."""
        import mlflow

        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)

    def run(self) -> str:
        return str(self.client.create_run(self.experiment).info.run_id)

    def artifact(self, run: str, name: str, content: bytes, folder: str = "dataset") -> Path:
        path = self.root / name
        path.write_bytes(content)
        self.client.log_artifact(run, str(path), folder)
        uri: str = self.client.get_run(run).info.artifact_uri
        return Path(uri.removeprefix("file://")) / folder / name

    def log(self, run: str, source: Any, context: str = "training", kind: str = "local") -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        text = source if isinstance(source, str) else json.dumps(source)
        self.client.log_inputs(
            run,
            [
                DatasetInput(
                    Dataset(f"set{self._made}", f"digest-{text[:20]}", kind, text),
                    [InputTag("mlflow.data.context", context)],
                )
            ],
        )

    def register(self, run: str | None, source: str = "/nowhere") -> ModelKey:
        self._made += 1
        name = f"model{self._made}"
        self.client.create_registered_model(name)
        self.client.create_model_version(name, source, run)
        return ModelKey(name, 1)

    def logged(self, source: Any, **more: str) -> ModelKey:
        run = self.run()
        self.log(run, source, **more)
        return self.register(run)

    def training(self, *allowed: str | Path, **more: Any) -> Training:
        registry = Registry(
            tracking_uri=self.uri, registry_uri=self.uri, timeout=60, download_timeout=60
        )
        return Training(registry, allowed=[str(place) for place in allowed], **more)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module")
def trained(lab: Lab) -> ModelKey:
    """A real one, whose signature has the inputs a and b."""
    import mlflow
    from mlflow.models import infer_signature
    from sklearn.linear_model import LinearRegression

    inputs = ROWS[["a", "b"]].astype(float)
    lab.be_the_default()
    with mlflow.start_run(experiment_id=lab.experiment) as run:
        mlflow.log_metrics({"rmse": 1.5, "odd": math.nan, "endless": math.inf})
        mlflow.sklearn.log_model(
            LinearRegression().fit(inputs, ROWS["y"]),
            name="model",
            signature=infer_signature(inputs, ROWS["y"]),
            pip_requirements=[],
            registered_model_name="trained",
        )
    lab.artifact(run.info.run_id, "notes.txt", b"x")
    lab.artifact(run.info.run_id, "b.csv", b"other\n1\n")
    path = lab.root / "a.parquet"
    ROWS.to_parquet(path)
    lab.client.log_artifact(run.info.run_id, str(path), "dataset")
    return ModelKey("trained", 1)


# -- metrics ---------------------------------------------------------------------------------------------


async def test_the_baseline_is_what_the_run_and_the_logged_model_say(
    lab: Lab, trained: ModelKey
) -> None:
    it = lab.training()
    assert await it.baseline(trained) == {"rmse": 1.5}
    version = lab.client.get_model_version("trained", "1")
    assert not version.model_id
    model = version.source.removeprefix("models:/")
    lab.client.log_metric(version.run_id, "rmse", 1.25, timestamp=2_000_000_000_000, model_id=model)
    lab.client.log_metric(version.run_id, "r2", 0.5, model_id=model)
    assert await it.baseline(trained) == {"rmse": 1.25, "r2": 0.5}


async def test_metrics_are_written_beside_the_baseline(lab: Lab, trained: ModelKey) -> None:
    it = lab.training()
    before = await it.baseline(trained)
    version = lab.client.get_model_version("trained", "1")
    model = version.source.removeprefix("models:/")
    said = await it.write_metrics(trained, {"rmse": 9.0, "mae": 3.0, "odd": math.nan})
    assert said == f"logged model {model}"
    logged = {one.key: one.value for one in lab.client.get_logged_model(model).metrics}
    assert logged[f"{DEPLOYED}rmse"] == 9.0
    assert f"{DEPLOYED}odd" not in logged
    assert await it.baseline(trained) == before
    await it.write_metrics(trained, {"rmse": 10.0})
    run = lab.client.get_run(version.run_id)
    assert run.data.metrics[f"{DEPLOYED}rmse"] == 10.0


async def test_metrics_of_a_version_without_a_logged_model_go_to_its_run(lab: Lab) -> None:
    run = lab.run()
    key = lab.register(run)
    it = lab.training()
    assert await it.write_metrics(key, {"rmse": 1}) == f"run {run}"
    assert lab.client.get_run(run).data.metrics == {f"{DEPLOYED}rmse": 1.0}
    assert await it.baseline(key) == {}


async def test_metrics_that_have_no_place(lab: Lab) -> None:
    it = lab.training()
    assert await it.write_metrics(lab.register(None), {"rmse": 1}) == ""
    with pytest.raises(RegistryUnavailable):
        await it.write_metrics(ModelKey("none", 1), {"rmse": 1})
    with pytest.raises(UnknownModel):
        await it.baseline(ModelKey("none", 1))
    run = lab.run()
    key = lab.register(run)
    lab.client.log_metric(run, "rmse", 2.0)
    lab.client.delete_run(run)
    assert await it.baseline(key) == {"rmse": 2.0}
    with pytest.raises(RegistryUnavailable):
        await it.write_metrics(key, {"rmse": 1})
    with pytest.raises(RegistryUnavailable):
        await it.write_metrics(lab.register(lab.run()), {"no\nname": 1})


async def test_zero_is_a_metric(lab: Lab) -> None:
    run = lab.run()
    lab.client.log_metric(run, "loss", 0.0)
    assert await lab.training().baseline(lab.register(run)) == {"loss": 0.0}


async def test_a_registry_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}"
        registry = Registry(tracking_uri=uri, registry_uri=uri, timeout=0.5, download_timeout=1)
        it = Training(registry)
        for call in (
            it.baseline(ModelKey("m", 1)),
            it.training_data(ModelKey("m", 1), Path("/nowhere")),
            it.write_metrics(ModelKey("m", 1), {"rmse": 1}),
        ):
            with pytest.raises(RegistryUnavailable, match="no answer"):
                await call


# -- the convention --------------------------------------------------------------------------------------


async def test_the_convention(lab: Lab, trained: ModelKey, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    found = await lab.training().training_data(trained, folder)
    assert found is not None
    assert found.path == folder / "training.parquet"
    assert [path.name for path in folder.iterdir()] == ["training.parquet"]
    pd.testing.assert_frame_equal(pd.read_parquet(found.path), ROWS)
    assert found.origin.startswith("artifact dataset/a.parquet of run ")
    assert (found.target, found.digest) == ("y", None)


async def test_artifacts_that_are_no_tables_are_passed_over(lab: Lab, tmp_path: Path) -> None:
    run = lab.run()
    lab.artifact(run, "train.PARQUET", b"PAR1 not really")
    lab.log(run, {"uri": str(lab.root / "local.csv")})
    (lab.root / "local.csv").write_bytes(CSV)
    found = await lab.training(lab.root).training_data(lab.register(run), tmp_path / "f")
    assert found is not None
    assert found.path.read_bytes() == CSV
    assert found.path.name == "training.csv"
    assert found.target is None  # there is no signature


async def test_a_link_out_of_the_artifacts_is_not_followed(lab: Lab, tmp_path: Path) -> None:
    run = lab.run()
    path = lab.artifact(run, "train.csv", CSV)
    key = lab.register(run)
    assert await lab.training().training_data(key, tmp_path / "f") is not None
    path.unlink()
    path.symlink_to("/etc/passwd")
    assert await lab.training().training_data(key, tmp_path / "g") is None
    assert empty(tmp_path / "g")


async def test_what_was_fetched_is_kept(lab: Lab, tmp_path: Path) -> None:
    run = lab.run()
    key = lab.register(run)
    it = lab.training()
    assert await it.kept(key, tmp_path) is None
    (tmp_path / ".partial-left").mkdir()
    path = lab.artifact(run, "train.csv", CSV)
    found = await it.kept(key, tmp_path)
    assert found is not None
    assert set(os.listdir(tmp_path)) == {"training.csv", "training.json"}  # noqa: PTH208
    path.unlink()
    assert await it.kept(key, tmp_path) == found
    found.path.write_bytes(b"cut")
    assert await it.kept(key, tmp_path) is None


# -- logged datasets -------------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "train.csv").write_bytes(CSV)
    return folder


@pytest.mark.parametrize("context", ["training", "train"])
async def test_a_file_in_an_allowed_folder(
    lab: Lab, data: Path, tmp_path: Path, context: str
) -> None:
    for uri in (f"{data}/train.csv", f"file://{data}/train.csv", f"{data}/../data/train.csv"):
        key = lab.logged({"uri": uri}, context=context)
        found = await lab.training("/srv/none", data).training_data(key, tmp_path / "f")
        assert found is not None
        assert found.path == tmp_path / "f" / "training.csv"
        assert found.path.read_bytes() == CSV
        assert found.digest is not None
        assert found.digest.startswith("digest-")
        assert "train.csv" in found.origin


async def test_what_mlflow_itself_logs(lab: Lab, data: Path, tmp_path: Path) -> None:
    import mlflow

    lab.be_the_default()
    with mlflow.start_run(experiment_id=lab.experiment) as run:
        source = str(data / "train.csv")
        mlflow.log_input(mlflow.data.from_pandas(ROWS, name="of code"), context="training")
        mlflow.log_input(mlflow.data.from_pandas(ROWS, source, name="wine"), context="training")
    key = lab.register(run.info.run_id)
    found = await lab.training(data).training_data(key, tmp_path / "f")
    assert found is not None
    assert "dataset wine " in found.origin
    assert await lab.training().training_data(key, tmp_path / "g") is None


def escape_by_file(data: Path) -> Any:
    (data / "link.csv").symlink_to(data.parent / "secret.csv")
    return {"uri": str(data / "link.csv")}


def escape_by_folder(data: Path) -> Any:
    (data / "link").symlink_to(data.parent)
    return {"uri": str(data / "link" / "secret.csv")}


def pipe(data: Path) -> Any:
    os.mkfifo(data / "pipe.csv")
    return {"uri": str(data / "pipe.csv")}


def folder(data: Path) -> Any:
    (data / "folder.csv").mkdir()
    return {"uri": str(data / "folder.csv")}


def listener(data: Path) -> Any:
    with socket.socket(socket.AF_UNIX) as it:
        it.bind(os.path.relpath(data / "s.csv"))
    return {"uri": str(data / "s.csv")}


REFUSED: list[Callable[[Path], Any]] = [
    escape_by_file,
    escape_by_folder,
    pipe,
    folder,
    listener,
    lambda data: {"uri": "/etc/passwd"},
    lambda data: {"uri": f"{data}/../../../../../../../../../etc/passwd"},
    lambda data: {"uri": "file:///etc/passwd"},
    lambda data: {"uri": "/proc/self/environ"},
    lambda data: {"uri": f"{data.parent}/secret.csv"},
    lambda data: {"uri": f"{data}/../secret.csv"},
    lambda data: {"uri": f"{data}/%2e%2e/secret.csv"},
    lambda data: {"uri": f"file://{data}/%2e%2e/secret.csv"},
    lambda data: {"uri": f"{data}-other/secret.csv"},
    lambda data: {"uri": f"{str(data).upper()}/train.csv"},
    lambda data: {"uri": f"{data}/none.csv"},
    lambda data: {"uri": f"{data}/train.csv\0"},
    lambda data: {"uri": "train.csv"},
    lambda data: {"uri": "../data/train.csv"},
    lambda data: {"uri": f"file://evil{data}/train.csv"},
    lambda data: {"uri": str(data / "binary.csv")},
    lambda data: {"uri": str(data / "empty.csv")},
    lambda data: {"uri": str(data / "large.csv")},
    lambda data: {"uri": str(data / "train.pickle")},
    lambda data: {"uri": ["/etc/passwd"]},
    lambda data: {"path": f"{data}/train.csv"},
    lambda data: {"url": "https://127.0.0.1/train.csv"},
    lambda data: {"uri": "s3://bucket/train.csv"},
    lambda data: "no json",
    lambda data: "[" * 60_000,
    lambda data: '"/etc/passwd"',
]


@pytest.mark.parametrize("make", REFUSED)
async def test_what_is_not_allowed_is_not_read(
    lab: Lab, data: Path, tmp_path: Path, make: Callable[[Path], Any]
) -> None:
    (tmp_path / "secret.csv").write_bytes(CSV)
    (tmp_path / "data-other").mkdir()
    (tmp_path / "data-other" / "secret.csv").write_bytes(CSV)
    (data / "binary.csv").write_bytes(b"\xff\xfe\0")
    (data / "empty.csv").write_bytes(b"")
    (data / "large.csv").write_bytes(CSV * 1000)
    (data / "train.pickle").write_bytes(CSV)
    key = lab.logged(make(data))
    it = lab.training(data, max_bytes=10_000)
    assert await it.training_data(key, tmp_path / "f") is None
    assert empty(tmp_path / "f")


async def test_without_a_list_nothing_is_allowed(lab: Lab, data: Path, tmp_path: Path) -> None:
    key = lab.logged({"uri": f"{data}/train.csv"})
    assert await lab.training().training_data(key, tmp_path / "f") is None
    assert empty(tmp_path / "f")


async def test_data_of_another_context_are_not_for_training(
    lab: Lab, data: Path, tmp_path: Path
) -> None:
    key = lab.logged({"uri": f"{data}/train.csv"}, context="evaluation")
    assert await lab.training(data).training_data(key, tmp_path / "f") is None


async def test_a_link_that_is_turned_meanwhile_is_noticed(
    lab: Lab, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret.csv").write_bytes(CSV)
    inner = data / "inner"
    inner.mkdir()
    (inner / "secret.csv").write_bytes(CSV)
    key = lab.logged({"uri": f"{inner}/secret.csv"})
    real_open = os.open

    def turn(path: Any, *arguments: Any, **more: Any) -> int:
        if str(path).endswith("secret.csv") and inner.is_dir() and not inner.is_symlink():
            inner.rename(data / "old")
            inner.symlink_to(tmp_path)
        return real_open(path, *arguments, **more)

    monkeypatch.setattr(os, "open", turn)
    assert await lab.training(data).training_data(key, tmp_path / "f") is None
    assert inner.is_symlink()


# -- web servers -----------------------------------------------------------------------------------------


class Web:
    """A server on the loopback, and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        it = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                it.asked.append(self.path)
                it.headers.append(dict(self.headers))
                it.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.partition("?")[0]
        if path.startswith("/to/"):
            handler.send_response(302)
            handler.send_header("Location", path.removeprefix("/to/").replace("!", ":", 1))
            handler.end_headers()
        elif path.startswith("/status/"):
            handler.send_response(int(path.split("/")[2]))
            handler.end_headers()
        elif path == "/cut.csv":
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(CSV) + 5))
            handler.end_headers()
            handler.wfile.write(CSV)
        elif path == "/packed.csv":
            handler.send_response(200)
            handler.send_header("Content-Encoding", "gzip")
            handler.end_headers()
        elif path == "/endless.csv":
            handler.send_response(200)
            handler.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(1000):
                    handler.wfile.write(CSV * 100)
        elif path == "/announced.csv":
            handler.send_response(200)
            handler.send_header("Content-Length", str(10**12))
            handler.end_headers()
        elif path == "/slow.csv":
            handler.send_response(200)
            handler.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(100):
                    handler.wfile.write(b"a")
                    time.sleep(0.1)
        else:
            handler.send_response(200)
            handler.end_headers()
            handler.wfile.write(CSV)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def web() -> Iterator[Web]:
    it = Web()
    yield it
    it.close()


@pytest.fixture
def elsewhere() -> Iterator[Web]:
    it = Web()
    yield it
    it.close()


async def test_a_file_on_an_allowed_host(lab: Lab, web: Web, tmp_path: Path) -> None:
    key = lab.logged({"url": f"{web.url}/train.csv?signature=secret"}, kind="http")
    found = await lab.training(f"{web.url}/").training_data(key, tmp_path / "f")
    assert found is not None
    assert found.path.read_bytes() == CSV
    assert f"{web.url}/train.csv" in found.origin
    assert "secret" not in found.origin
    assert web.asked == ["/train.csv?signature=secret"]
    assert "Authorization" not in web.headers[0]


async def test_hosts_that_are_not_named_are_not_asked(
    lab: Lab, web: Web, elsewhere: Web, tmp_path: Path
) -> None:
    port = elsewhere.url.rpartition(":")[2]
    for url in (
        f"{elsewhere.url}/train.csv",
        f"https://127.0.0.1:{port}/train.csv",
        f"{web.url}@127.0.0.1:{port}/train.csv",
        f"{web.url}\\@127.0.0.1:{port}/train.csv",
        f"http://localhost:{port}/train.csv",
        f"{web.url}/../train.csv",
        "http://169.254.169.254/latest/meta-data.csv",
    ):
        key = lab.logged({"url": url}, kind="http")
        assert await lab.training(f"{web.url}/").training_data(key, tmp_path / "f") is None
    assert web.asked == elsewhere.asked == []


async def test_redirects_are_followed_to_allowed_places_only(
    lab: Lab, web: Web, elsewhere: Web, tmp_path: Path
) -> None:
    allowed = f"{web.url}/"
    for target, fine in (
        ("/train.csv", True),
        (f"{web.url}/train.csv", True),
        (f"{elsewhere.url}/train.csv", False),
        ("file:///etc/passwd.csv", False),
        (f"{web.url}@{elsewhere.url.removeprefix('http://')}/train.csv", False),
    ):
        web.answer = lambda handler, target=target: (  # type: ignore[method-assign, misc]
            Web.answer(web, handler) if handler.path == "/train.csv" else redirect(handler, target)
        )
        key = lab.logged({"url": f"{web.url}/go.csv"}, kind="http")
        found = await lab.training(allowed).training_data(key, tmp_path / "f")
        assert (found is not None) is fine
    assert elsewhere.asked == []
    # In circles.
    web.answer = lambda handler: redirect(handler, "/go.csv")  # type: ignore[method-assign]
    assert await lab.training(allowed).training_data(key, tmp_path / "f") is None
    both = lab.training(allowed, f"{elsewhere.url}/")
    web.answer = lambda handler: redirect(handler, f"{elsewhere.url}/train.csv")  # type: ignore[method-assign]
    assert await both.training_data(key, tmp_path / "f") is not None


def redirect(handler: BaseHTTPRequestHandler, target: str) -> None:
    handler.send_response(302)
    handler.send_header("Location", target)
    handler.end_headers()


@pytest.mark.parametrize(
    "path",
    [
        "/status/404/a.csv",
        "/status/403/a.csv",
        "/packed.csv",
        "/endless.csv",
        "/announced.csv",
        "/train.pickle",
    ],
)
async def test_what_is_not_to_be_had_is_none(lab: Lab, web: Web, tmp_path: Path, path: str) -> None:
    key = lab.logged({"url": web.url + path}, kind="http")
    it = lab.training(f"{web.url}/", max_bytes=100_000)
    assert await it.training_data(key, tmp_path / "f") is None
    assert empty(tmp_path / "f")


@pytest.mark.parametrize(
    "path", ["/status/503/a.csv", "/status/429/a.csv", "/cut.csv", "/slow.csv"]
)
async def test_what_may_be_had_later_is_an_error(
    lab: Lab, web: Web, tmp_path: Path, path: str
) -> None:
    key = lab.logged({"url": web.url + path}, kind="http")
    it = lab.training(f"{web.url}/", timeout=3.0 if "slow" in path else 60.0)
    with pytest.raises(RegistryUnavailable) as caught:
        await it.training_data(key, tmp_path / "f")
    assert "training data" in caught.value.detail
    assert empty(tmp_path / "f")


async def test_a_server_that_is_gone_is_an_error(lab: Lab, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as once:
        url = f"http://127.0.0.1:{once.getsockname()[1]}"
    key = lab.logged({"url": f"{url}/train.csv"}, kind="http")
    with pytest.raises(RegistryUnavailable, match="refused"):
        await lab.training(f"{url}/").training_data(key, tmp_path / "f")


# -- buckets ---------------------------------------------------------------------------------------------


class S3:
    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def get_object(self, *, Bucket: str, Key: str) -> Any:  # noqa: N803 - boto3's names
        self.asked.append((Bucket, Key))
        if Key.startswith("none"):
            error: Any = RuntimeError("no such key")
            error.response = {"ResponseMetadata": {"HTTPStatusCode": 404}}
            raise error
        if Key.startswith("later"):
            raise RuntimeError("slow down")
        body = SimpleNamespace(iter_chunks=lambda size: iter([CSV[:10], CSV[10:]]))
        return {"ContentLength": 10**12 if Key.startswith("large") else len(CSV), "Body": body}


async def test_an_object_in_an_allowed_bucket(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = S3()
    monkeypatch.setattr(training_module, "_s3", lambda: store)
    it = lab.training("s3://bucket/")
    found = await it.training_data(
        lab.logged({"uri": "s3://bucket/a/t.csv"}, kind="s3"), tmp_path / "f"
    )
    assert found is not None
    assert found.path.read_bytes() == CSV
    for uri in ("s3://other/t.csv", "s3://bucket/../other/t.csv"):
        assert await it.training_data(lab.logged({"uri": uri}, kind="s3"), tmp_path / "g") is None
    assert store.asked == [("bucket", "a/t.csv")]
    for key in ("none.csv", "large.csv"):
        uri = f"s3://bucket/{key}"
        assert await it.training_data(lab.logged({"uri": uri}, kind="s3"), tmp_path / "g") is None
    with pytest.raises(RegistryUnavailable):
        await it.training_data(
            lab.logged({"uri": "s3://bucket/later.csv"}, kind="s3"), tmp_path / "g"
        )


async def test_buckets_without_boto3(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    key = lab.logged({"uri": "s3://bucket/t.csv"}, kind="s3")
    assert await lab.training("s3://bucket/").training_data(key, tmp_path / "f") is None
