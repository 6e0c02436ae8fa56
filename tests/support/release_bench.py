"""A real controller behind a proxy with projects of devices, and real files that it releases to them."""

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.controller_forks import ControllerForks
from tests.support.edge_models import LOADER, MLMODEL
from tests.support.harness import HOST, ROOT, Controller
from tests.support.waiting import until_sync

#: Bytes of the large file of the model ``weights``.
SIZE = 24 * 1024 * 1024
#: Registers versions 1 and 2 of it, which differ in the last byte of that file; and ``tens``, which runs.
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
folder = root / "tens"
(folder / "code").mkdir(parents=True)
(folder / "data").touch()
(folder / "MLmodel").write_bytes({MLMODEL!r})
(folder / "code" / "tens.py").write_text({LOADER!r})
example = '{{"dataframe_split": {{"columns": ["a", "b"], "data": [[1, 2]]}}}}'
(folder / "serving_input_example.json").write_text(example)
client.create_registered_model("tens")
client.create_model_version("tens", folder.as_uri(), None)
"""


def weights(version: int) -> bytes:
    return bytes(SIZE - 1) + str(version).encode()


@dataclass
class ReleaseBench:
    """A controller with two projects, and the token of a device of the first."""

    controller: Controller
    token: str = ""

    @property
    def url(self) -> str:
        return self.controller.url

    def code(self) -> str:
        """A code for a device of the first project."""
        return str(self.controller.post("/hall/enrolments", 201, {})["code"])

    def begin(self, model: str, version: int) -> int:
        """Release a version to all devices, at once; the number of the release."""
        policy: dict[str, Any] = {"groups": [], "percent": []}
        body = {"model": model, "version": version, "policy": policy}
        return int(self.controller.post("/hall/setModel", 202, body)["release"]["number"])

    def release(self, version: int) -> dict[str, Any]:
        """Release a version of ``weights`` to all devices; its manifest."""
        number = self.begin("weights", version)

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


@contextlib.contextmanager
def release_bench(folder: Path, forks: ControllerForks) -> Iterator[ReleaseBench]:
    """The bench, whose controller starts in little time."""
    registry = f"sqlite:///{folder / 'mlflow.db'}"
    done = subprocess.run(
        [sys.executable, "-c", _REGISTER, folder, registry],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # Models of environments of their own are not tried, which would take seconds.
    controller = Controller(
        folder / "controller", registry, forks=forks, PROXIES=1, ENV_MANAGER="uv"
    )
    bench = ReleaseBench(controller.with_users().up())
    try:
        for project in ("hall", "yard"):
            controller.post("/projects", 201, {"name": project, "models": ["weights", "tens"]})
        body = {"code": bench.code(), "device": "camera-7"}
        answer = controller.call("POST", "/hall/registerDevice", json=body, auth=None)
        assert answer.status_code == 201, answer.text
        bench.token = answer.json()["token"]
        yield bench
        assert controller.terminate() == 0
    finally:
        controller.destroy()
