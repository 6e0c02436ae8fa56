"""Builds that fail or are ended say why, for good or for now, and leave nothing."""

import asyncio
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from model_deployment.core.options import EnvManager
from tests.support.environment_bench import HERE, EnvironmentBench, installed
from tests.support.small_disk import fill, small_disk
from tests.support.tiny_wheels import sdist, wheel
from tests.support.waiting import until


async def test_what_cannot_be_installed_fails_for_good_with_the_words_that_matter(
    bench: EnvironmentBench,
) -> None:
    backend = "def build_wheel(*_, **__):\n    raise RuntimeError('cannot find the compiler')\n"
    sdist(bench.index, "broken", "1.0", backend)
    for requirements, words in (
        ("learner==1.5\nnumbers-of-us==2.0\n", "requirements are unsatisfiable"),
        ("learner==9.9\n", "no version of learner==9.9"),
        ("broken==1.0\n", "cannot find the compiler"),
        ("nobody-made-this==1\n", "nobody-made-this was not found"),
    ):
        model = bench.model("a", requirements)
        error = await bench.failure(model)
        assert words in str(error)
        assert error.permanent
        assert "Traceback" not in str(error)
        assert "\n" not in str(error)
        assert bench.drafts() == []
        assert not [*bench.root.glob("*/environment.json")]
    # It was raised once. The next controller knows of it.
    digest = bench.store.digest(model, EnvManager.UV)
    assert bench.restart().failure(digest) == str(error)
    # The next who wants it has it tried again, and may be lucky.
    wheel(bench.index, "nobody-made-this", "1")
    assert installed(await bench.built(model))["nobody-made-this"] == "1"
    assert bench.store.failure(digest) == ""


@pytest.mark.parametrize("name", ["UV_INDEX_URL", "UV_DEFAULT_INDEX"])
async def test_index_that_is_away_is_tried_again_and_its_password_not_told(
    bench: EnvironmentBench, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    bench.variables |= {name: "http://us:s3cr%40t-pw@127.0.0.1:9/simple", "UV_HTTP_RETRIES": "0"}
    del bench.variables["UV_CONFIG_FILE"]
    model = bench.model("a", "never-seen\n--extra-index-url http://u2:oth3r-pw@127.0.0.1:9/x\n")
    error = await bench.failure(model)
    assert not error.permanent
    assert "Connection refused" in str(error)
    log = bench.store.log(bench.store.digest(model, EnvManager.UV)).read_text()
    for secret in ("s3cr%40t-pw", "s3cr@t-pw", "oth3r-pw"):
        assert secret not in str(error) + log + caplog.text


@pytest.mark.parametrize(
    ("status", "permanent"), [(503, False), pytest.param(404, True, marks=pytest.mark.long)]
)
async def test_pip_is_asked_what_its_index_answered(
    bench: EnvironmentBench, status: int, permanent: bool
) -> None:
    class Index(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Index)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        bench.variables |= {
            "PIP_INDEX_URL": f"http://127.0.0.1:{server.server_port}/simple",
            "PIP_RETRIES": "0",
        }
        del bench.variables["PIP_NO_INDEX"]
        model = bench.model("a", "never-seen\n", python=HERE)
        error = await bench.failure(model, EnvManager.VIRTUALENV)
    finally:
        server.shutdown()
        server.server_close()
    assert "never-seen" in str(error)
    assert error.permanent == permanent
    assert (str(status) in str(error)) == (not permanent)


async def test_python_that_is_nowhere_fails_for_good(bench: EnvironmentBench) -> None:
    error = await bench.failure(bench.model("a", "learner\n", python="3.99.1"))
    assert error.permanent
    assert "no Python 3.99 on this machine" in str(error)


async def test_manager_that_is_not_installed_is_said_with_what_helps(
    bench: EnvironmentBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/bin/python")
    bench.variables["PATH"] = "/nonexistent"
    assert "pip install uv" in bench.store.obstacle(EnvManager.UV)
    assert "MLFLOW_CONDA_HOME" in bench.store.obstacle(EnvManager.CONDA)
    error = await bench.failure(bench.model("a", "learner\n"))
    assert "there is no program uv" in str(error)


async def test_build_that_takes_too_long_is_ended_with_all_that_it_started(
    bench: EnvironmentBench,
) -> None:
    marker = bench.folder / "started"
    backend = (
        "import os, pathlib, subprocess, sys, time\n"
        "def build_wheel(*_, **__):\n"
        "    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],"
        " start_new_session=True)\n"
        f"    pathlib.Path({str(marker)!r}).write_text(f'{{os.getpid()}} {{child.pid}}')\n"
        "    time.sleep(600)\n"
    )
    sdist(bench.index, "slow", "1.0", backend)
    bench.timeout = 10.0  # on a busy machine the backend begins after seconds
    bench.restart()
    error = await bench.failure(bench.model("a", "slow\n"))
    assert not error.permanent
    assert "longer than 10 s (MODEL_DEPLOYMENT_BUILD_TIMEOUT)" in str(error)
    await until(lambda: not any(_lives(int(pid)) for pid in marker.read_text().split()))
    assert bench.drafts() == []


async def test_close_ends_builds(bench: EnvironmentBench) -> None:
    marker = bench.folder / "started"
    backend = (
        "import os, pathlib, time\n"
        "def build_wheel(*_, **__):\n"
        f"    pathlib.Path({str(marker)!r}).write_text(str(os.getpid()))\n"
        "    time.sleep(600)\n"
    )
    sdist(bench.index, "slow", "1.0", backend)
    model = bench.model("a", "slow\n")
    bench.store.state(model, EnvManager.UV)
    await until(marker.exists, timeout=30)
    await asyncio.to_thread(bench.store.close)
    await until(lambda: not _lives(int(marker.read_text())))
    assert bench.drafts() == []


async def test_full_disk_and_forbidden_folder_say_so(bench: EnvironmentBench) -> None:
    model = bench.model("a", "learner\n")
    with small_disk(bench.folder / "small", "3m") as place:
        fill(place)
        bench.root = place / "environments"
        bench.restart()
        error = await bench.failure(model)
        assert not error.permanent
        assert "space" in str(error)
        bench.close()
    bench.root = bench.folder / "file"
    bench.root.write_text("no folder")
    bench.restart()
    error = await bench.failure(model)
    assert not error.permanent
    assert str(bench.root) in str(error)


def _lives(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
