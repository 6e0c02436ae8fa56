"""A device loads a release from a real controller behind a proxy, over lines that are cut."""

import hashlib
import io
import json
import shutil
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.controller_forks import ControllerForks
from tests.support.harness import CALLER, HOST, ROOT, Controller
from tests.support.tools import check_problem
from tests.support.waiting import until_sync

SIZE = 24 * 1024 * 1024
#: Registers versions 1 and 2 of a model, which differ in the last byte of their large file.
_REGISTER = f"""
import sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import mlflow
root, uri = Path(sys.argv[1]), sys.argv[2]
client = mlflow.MlflowClient(uri, uri)
client.create_registered_model("weights")
for version in b"12":
    folder = root / str(version)
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {{}}")
    (folder / "serving_input_example.json").write_text('{{"inputs": [[1]]}}')
    (folder / "weights.bin").write_bytes(bytes({SIZE} - 1) + bytes([version]))
    client.create_model_version("weights", folder.as_uri(), None)
"""


def weights(version: int) -> bytes:
    return bytes(SIZE - 1) + str(version).encode()


@dataclass
class Bench:
    """A controller with two projects, and the token of a device of the first."""

    controller: Controller
    token: str = ""

    def release(self, version: int) -> dict[str, Any]:
        """Release a version to all devices; its manifest."""
        policy: dict[str, Any] = {"groups": [], "percent": []}
        body = {"version": version, "policy": policy}
        number = self.controller.post("/hall/setModel", 202, body)["release"]["number"]

        def prepared() -> Any:
            shown = self.controller.get(f"/hall/releases/{number}")
            assert shown["state"] != "failed", shown
            return shown["state"] != "preparing"

        until_sync(prepared, timeout=60, what="the release to be prepared")
        found = self.get("/hall/activeModel")
        assert found.status_code == 200, found.text
        manifest: dict[str, Any] = json.loads(found.json()["release"]["manifest"])
        assert manifest["version"] == version
        return manifest

    def get(self, path: str, method: str = "GET", **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named.setdefault("Authorization", f"Bearer {self.token}")
        return self.controller.call(method, path, headers=named, auth=None)

    def cut_off(self, path: str, after: int, end: Any) -> bytes:
        """The beginning of a file, of which the line is cut by ``end`` once ``after`` bytes came."""
        line = socket.create_connection((HOST, self.controller.port), timeout=30)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        with line:
            head = (
                f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {self.token}\r\n\r\n"
            )
            line.sendall(head.encode())
            came = b""
            while len(came) < after:
                came += line.recv(65536)
            end()
            while piece := _received(line):
                came += piece
        head_, _, body = came.partition(b"\r\n\r\n")
        assert head_.startswith(b"HTTP/1.1 200"), head_
        return body


def _received(line: socket.socket) -> bytes:
    try:
        return line.recv(65536)
    except ConnectionError:
        return b""


@pytest.fixture(scope="module")
def bench(
    tmp_path_factory: pytest.TempPathFactory, controller_forks: ControllerForks
) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("downloads")
    registry = f"sqlite:///{folder / 'mlflow.db'}"
    done = subprocess.run(
        [sys.executable, "-c", _REGISTER, folder, registry],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # Models of environments of their own are not tried, which would take seconds.
    controller = Controller(
        folder / "controller", registry, forks=controller_forks, PROXIES=1, ENV_MANAGER="uv"
    )
    bench = Bench(controller.with_users().up())
    try:
        for project in ("hall", "yard"):
            controller.post("/projects", 201, {"name": project, "models": ["weights"]})
        code = controller.post("/hall/enrolments", 201, {})["code"]
        body = {"code": code, "device": "camera-7"}
        answer = controller.call("POST", "/hall/registerDevice", json=body, auth=None)
        assert answer.status_code == 201, answer.text
        bench.token = answer.json()["token"]
        yield bench
        assert controller.terminate() == 0
    finally:
        controller.destroy()


@pytest.fixture(scope="module")
def first(bench: Bench) -> dict[str, Any]:
    """The manifest of version 1."""
    return bench.release(1)


def digest(manifest: dict[str, Any], path: str) -> str:
    return str(next(one["sha256"] for one in manifest["files"] if one["path"] == path))


def test_a_manifest_lists_what_can_be_loaded(bench: Bench, first: dict[str, Any]) -> None:
    assert "environment of its own (env_manager uv)" in first["onnx"]["why_not"]
    assert first["example"] == "model/serving_input_example.json"
    for file in first["files"]:
        for path in (f"blobs/{file['sha256']}", f"download/weights-1/{file['path']}"):
            answer = bench.get(f"/hall/{path}")
            assert answer.status_code == 200
            assert len(answer.content) == file["size"]
            assert hashlib.sha256(answer.content).hexdigest() == file["sha256"]
            assert answer.headers["etag"] == f'"{file["sha256"]}"'
            assert (
                bench.get(f"/projects/hall/{path}", "HEAD").headers["etag"]
                == answer.headers["etag"]
            )


@pytest.mark.parametrize("cut", ["controller", "line"])
def test_a_download_goes_on_where_it_was_cut(bench: Bench, first: dict[str, Any], cut: str) -> None:
    path = f"/hall/blobs/{digest(first, 'model/weights.bin')}"
    if cut == "controller":
        begun = bench.cut_off(path, SIZE // 3, bench.controller.kill)
        bench.controller.up()
    else:
        # The device goes away; what the proxy has of the answer is given up.
        with httpx.Client(base_url=bench.controller.url) as client:
            headers = {"Authorization": f"Bearer {bench.token}"}
            with client.stream("GET", path, headers=headers) as answer:
                begun = next(answer.iter_raw(SIZE // 3))
    assert SIZE // 4 < len(begun) < SIZE
    tag = f'"{digest(first, "model/weights.bin")}"'
    rest = bench.get(path, Range=f"bytes={len(begun)}-", If_Range=tag)
    assert rest.status_code == 206
    assert rest.headers["content-range"] == f"bytes {len(begun)}-{SIZE - 1}/{SIZE}"
    assert begun + rest.content == weights(1)
    beyond = bench.get(path, Range=f"bytes={SIZE}-", If_Range=tag)
    assert check_problem(beyond)["status"] == 416
    assert beyond.headers["content-range"] == f"bytes */{SIZE}"
    assert bench.get(path, If_None_Match=tag).status_code == 304


def test_who_may_load(bench: Bench, first: dict[str, Any]) -> None:
    path = f"/blobs/{digest(first, 'model/MLmodel')}"
    assert bench.get(f"/hall{path}").text == "flavors: {}"
    assert bench.controller.call("GET", f"/hall{path}").status_code == 200  # the operator
    assert bench.controller.call("GET", f"/hall{path}", auth=CALLER).status_code == 403
    assert bench.controller.call("GET", f"/hall{path}", auth=None).status_code == 401
    assert bench.get(f"/hall{path}", Authorization="Bearer mdd_wrong").status_code == 401
    # Another project: not for the device, and not there for the operator.
    assert bench.get(f"/yard{path}").status_code == 403
    assert bench.controller.call("GET", f"/yard{path}").status_code == 404


def test_files_that_were_lost_come_back_from_the_registry(
    bench: Bench, first: dict[str, Any]
) -> None:
    """As after a restore: a backup has no files that the registry has."""
    data = bench.controller.data
    for folder in (data / "releases" / "blobs", data / "models"):
        for lost in folder.iterdir():
            shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
    path = f"/hall/blobs/{digest(first, 'model/weights.bin')}"
    answer = bench.get(path)
    assert check_problem(answer)["status"] == 503
    assert answer.headers["retry-after"] == "10"

    def there() -> bool:
        answer = bench.get(path)
        assert answer.status_code == 200
        return answer.content == weights(1)

    until_sync(there, timeout=30, what="the file to be there again")


def test_another_version_is_not_appended_to_what_was_begun(
    bench: Bench, first: dict[str, Any]
) -> None:
    second = bench.release(2)
    kept = {one["sha256"] for one in first["files"]} & {one["sha256"] for one in second["files"]}
    assert len(kept) == 2  # need not be loaded again
    path = "/hall/download/weights-2/model/weights.bin"
    tag = f'"{digest(first, "model/weights.bin")}"'
    answer = bench.get(path, Range="bytes=1000-", If_Range=tag)
    assert (answer.status_code, answer.content) == (200, weights(2))
    old = bench.get("/hall/download/weights-1/model/weights.bin", Range="bytes=-1", If_Range=tag)
    assert (old.status_code, old.content) == (206, b"1")


def test_an_archive_has_the_whole_release(bench: Bench, first: dict[str, Any]) -> None:
    answer = bench.get("/hall/activeModel?format=tar")
    assert answer.status_code == 200, answer.text
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        signed = json.load(archive.extractfile("release.json") or io.BytesIO())
        manifest = json.loads(signed["manifest"])
        assert archive.getnames()[1:] == [one["path"] for one in manifest["files"]]
        for one in manifest["files"]:
            content = archive.extractfile(one["path"])
            assert content is not None
            assert hashlib.sha256(content.read()).hexdigest() == one["sha256"]
    answer = bench.get("/hall/activeModel?format=tar", If_None_Match=answer.headers["etag"])
    assert answer.status_code == 304
    assert Path(bench.controller.data / "release.key").stat().st_mode & 0o777 == 0o600
