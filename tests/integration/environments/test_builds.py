"""Environments are built once by real uv, from an index of tiny wheels; with faults of each kind."""

import asyncio
import json
import os
import shutil
import stat
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from model_deployment.core.options import EnvManager
from model_deployment.environments.environment import Building, Ready
from tests.support import tiny_wheels
from tests.support.environment_bench import EnvironmentBench, installed, said
from tests.support.small_disk import fill, small_disk
from tests.support.tiny_wheels import sdist, wheel
from tests.support.waiting import until

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


async def test_environment_has_the_packages_of_the_model_and_of_its_server(
    bench: EnvironmentBench,
) -> None:
    model = bench.model("a", "learner==1.5\nmlflow==2.22.0\n", python=HERE)
    progress = await _progress(bench, model)
    assert "making the environment with uv" in progress
    assert all(text and "\n" not in text for text in progress)
    assert bench.changes >= 1
    found = await bench.built(model)
    packages = installed(found)
    assert packages["learner"] == "1.5"
    assert packages["numbers-of-us"] == "1.0"
    assert packages["mlflow"] == found.mlflow_version == "2.22.0"
    assert packages["starlette"] == "0.52.1"
    assert {*tiny_wheels.SERVER} <= {*packages}
    assert found.modules == ("learner", "mlflow")
    assert found.serves
    assert found.folder == bench.root / found.digest
    assert found.python_version.startswith(f"{HERE}.")
    # What a killed controller could leave is not there, and programs run where they are now.
    assert bench.drafts() == []
    assert said(found.folder / "bin/mlflow") == "a tiny mlflow\n"
    assert bench.store.sizes()[found.digest] > 1000
    lines = bench.store.log(found.digest).read_text().splitlines()
    assert any("Z $ " in line and " pip install " in line for line in lines)
    assert any(line.endswith(" + learner==1.5") for line in lines)
    assert all(line[:2] == "20" and line[19] == "Z" for line in lines)
    assert _quickest_look(bench, found.digest) < 0.005


async def _progress(bench: EnvironmentBench, model: Path) -> set[str]:
    """What is told while it is built."""
    seen = set()

    def ended() -> bool:
        state = bench.store.state(model, EnvManager.UV)
        if isinstance(state, Building):
            seen.add(state.progress)
        return isinstance(state, Ready)

    await until(ended, timeout=60, interval=0.001)
    return seen


def _quickest_look(bench: EnvironmentBench, digest: str) -> float:
    """Seconds, without what the machine does beside."""
    times = []
    for _ in range(20):
        begin = time.perf_counter()
        assert bench.store.find(digest) is not None
        times.append(time.perf_counter() - begin)
    return min(times)


async def test_eight_models_with_the_same_needs_are_one_build(bench: EnvironmentBench) -> None:
    texts = ["learner==1.5\nnumbers-of-us\n", "# other\r\nnumbers_of_us\r\nlearner == 1.5\r\n"]
    models = [bench.model(f"m{number}", texts[number % 2]) for number in range(8)]
    found = await asyncio.gather(*(bench.built(model) for model in models))
    assert len({one.digest for one in found}) == 1
    log = bench.store.log(found[0].digest).read_text()
    assert log.count(" venv ") == 1
    assert len([*bench.root.glob("*/environment.json")]) == 1


async def test_start_needs_neither_index_nor_uv_nor_cache(bench: EnvironmentBench) -> None:
    model = bench.model("a", "learner\n")
    before = await bench.built(model)
    shutil.rmtree(bench.index)
    shutil.rmtree(bench.folder / "cache")
    bench.variables = {"PATH": "/nonexistent", "UV_INDEX_URL": "http://127.0.0.1:9/simple"}
    bench.restart()
    assert await bench.built(model) == before
    assert installed(before)["learner"] == "1.5"
    assert bench.store.find(before.digest) == before


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


async def test_server_that_does_not_fit_is_left_out(bench: EnvironmentBench) -> None:
    wheel(bench.index, "uvicorn", tiny_wheels.SERVER["uvicorn"], requires=["numbers-of-us>=2"])
    found = await bench.built(bench.model("a", "numbers-of-us==1.0\n"))
    assert not found.serves
    assert found.mlflow_version == "3.17.2"
    assert "uvicorn" not in installed(found)
    assert "uvicorn" in (found.folder / "environment.json").read_text()


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


@pytest.mark.parametrize(("status", "permanent"), [(503, False), (404, True)])
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


async def test_wheels_of_the_model_are_installed_without_any_index(bench: EnvironmentBench) -> None:
    model = bench.model(
        "a", "wheels/own-1.0-py3-none-any.whl\nwheels/mlflow-2.9.2-py3-none-any.whl\n"
    )
    wheel(model / "wheels", "own", "1.0")
    shutil.copy(bench.index / "mlflow-2.9.2-py3-none-any.whl", model / "wheels")
    shutil.rmtree(bench.index)
    bench.index.mkdir()
    before = sorted(path.name for path in model.rglob("*"))
    found = await bench.built(model)
    assert installed(found) == {"own": "1.0", "mlflow": "2.9.2"}
    assert not found.serves
    assert sorted(path.name for path in model.rglob("*")) == before


async def test_sources_of_the_model_are_built_without_writing_to_them(
    bench: EnvironmentBench,
) -> None:
    backend = (
        "import pathlib, shutil\n"
        "def build_wheel(folder, *_, **__):\n"
        "    pathlib.Path('written-beside').write_text('x')\n"
        "    shutil.copy('made.whl', pathlib.Path(folder) / 'local_code-1-py3-none-any.whl')\n"
        "    return 'local_code-1-py3-none-any.whl'\n"
    )
    model = bench.model("a", "-e ./code\n")
    code = model / "code"
    made = wheel(code, "local-code", "1")
    made.rename(code / "made.whl")
    (code / "backend.py").write_text(backend)
    (code / "pyproject.toml").write_text(
        f'{tiny_wheels.BACKEND}[project]\nname = "local-code"\nversion = "1"\n'
    )
    found = await bench.built(model)
    assert installed(found)["local-code"] == "1"
    assert not (code / "written-beside").exists()


async def test_other_last_number_of_python_is_taken_and_said(bench: EnvironmentBench) -> None:
    found = await bench.built(bench.model("a", "learner\n", python=f"{HERE}.99"))
    assert found.python_version.startswith(f"{HERE}.")
    log = bench.store.log(found.digest).read_text()
    assert f"Python {HERE}.99 cannot be had" in log
    assert f"built with {found.python_version}" in log


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


async def test_broken_environment_is_noticed_and_built_again(bench: EnvironmentBench) -> None:
    model = bench.model("a", "learner\n")
    found = await bench.built(model)
    whole = bench.folder / "whole"
    shutil.copytree(found.folder, whole, symlinks=True)
    packages = next(found.folder.glob("lib/python*/site-packages"))

    def without_base() -> None:
        found.python.unlink()
        found.python.symlink_to("/nonexistent/python3")

    damages: list[Callable[[], object]] = [
        found.python.unlink,
        lambda: found.python.chmod(0o644) if not found.python.is_symlink() else without_base(),
        lambda: shutil.rmtree(packages),
        lambda: shutil.rmtree(packages / "learner"),
        lambda: shutil.rmtree(packages / "learner-1.5.dist-info"),
        (packages / "learner/__init__.py").unlink,
        lambda: (found.folder / "environment.json").write_text("{"),
        (found.folder / "environment.json").unlink,
        without_base,
    ]
    for damage in damages:
        assert bench.store.find(found.digest) == found
        damage()
        assert bench.store.find(found.digest) is None
        shutil.rmtree(found.folder)
        shutil.copytree(whole, found.folder, symlinks=True)
    shutil.rmtree(packages / "learner")
    with pytest.raises(BlockingIOError):
        bench.store.take(model, EnvManager.UV)
    assert await bench.built(model) == found
    assert installed(found)["learner"] == "1.5"
    shutil.rmtree(found.folder)
    # At once, although it was looked at a moment ago.
    assert isinstance(bench.store.state(model, EnvManager.UV), Building)
    assert await bench.built(model) == found
    # An update of the Python that it is based on costs no build.
    before = found.folder.stat().st_ino
    file = found.folder / "environment.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "base_time": 1}))
    assert bench.store.find(found.digest) is None
    assert await bench.built(model) == found
    assert bench.store.find(found.digest) == found
    assert found.folder.stat().st_ino == before
    # One of another minor version has none of its packages.
    description = {**json.loads(file.read_text()), "base_time": 1, "python_version": "3.1.4"}
    file.write_text(json.dumps(description))
    assert await bench.built(model) == found
    assert found.folder.stat().st_ino != before


async def test_data_directory_may_have_a_relative_name(
    bench: EnvironmentBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bench.folder)
    bench.root = Path("environments")
    bench.restart()
    found = await bench.built(bench.model("a", "learner\n"))
    assert found.folder.is_absolute()
    assert installed(found)["learner"] == "1.5"


async def test_user_without_a_home_has_the_cache_among_the_environments(
    bench: EnvironmentBench,
) -> None:
    bench.variables["HOME"] = "/proc/nobody"
    del bench.variables["UV_CACHE_DIR"]
    found = await bench.built(bench.model("a", "learner\n"))
    assert (bench.root / "cache").is_dir()
    bench.restart().tidy({found.digest})
    assert bench.store.find(found.digest) == found
    assert {*bench.store.sizes()} == {found.digest}


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
    bench.timeout = 4.0
    bench.restart()
    error = await bench.failure(bench.model("a", "slow\n"))
    assert not error.permanent
    assert "longer than 4 s (MODEL_DEPLOYMENT_BUILD_TIMEOUT)" in str(error)
    await until(lambda: not any(_lives(int(pid)) for pid in marker.read_text().split()))
    assert bench.drafts() == []


async def test_two_builds_run_at_a_time(bench: EnvironmentBench) -> None:
    backend = (
        "import os, pathlib, time\n"
        "def build_wheel(*_, **__):\n"
        "    here = pathlib.Path(os.environ['HOME'])\n"
        "    (here / f'running-{os.getpid()}').write_text('')\n"
        "    while not (here / 'go').exists():\n"
        "        time.sleep(0.01)\n"
        "    raise RuntimeError('it went')\n"
    )
    models = []
    for number in range(3):
        sdist(bench.index, f"waits{number}", "1.0", backend)
        models.append(bench.model(f"m{number}", f"waits{number}\n"))
    home = bench.folder / "cache"

    def progress() -> list[str]:
        states = [bench.store.state(model, EnvManager.UV) for model in models]
        return [state.progress for state in states if isinstance(state, Building)]

    await until(lambda: len(progress()) == 3 and len([*home.glob("running-*")]) == 2, timeout=30)
    assert progress().count("waiting for other builds") == 1
    assert bench.store.sizes() == {}
    (home / "go").write_text("")
    for error in await asyncio.gather(*(bench.failure(model) for model in models)):
        assert "it went" in str(error)


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


async def test_tidy_removes_what_nobody_needs(bench: EnvironmentBench) -> None:
    kept = await bench.built(bench.model("a", "learner\n"))
    gone = await bench.built(bench.model("b", "numbers-of-us\n"))
    left = bench.root / "drafts" / f"{gone.digest}-12345678"
    (left / "environment").mkdir(parents=True)
    left.chmod(stat.S_IRUSR | stat.S_IXUSR)
    for digest in (kept.digest, gone.digest):
        os.utime(bench.store.log(digest), (0, 0))
    bench.restart()
    bench.store.tidy({kept.digest})
    assert bench.store.find(kept.digest) == kept
    assert bench.store.find(gone.digest) is None
    assert {*bench.store.sizes()} == {kept.digest}
    assert bench.drafts() == []
    assert [*bench.root.glob("removed/*")] == []
    assert bench.store.log(kept.digest).exists()
    assert not bench.store.log(gone.digest).exists()


async def test_builds_that_begin_while_it_tidies_go_on(bench: EnvironmentBench) -> None:
    models = [bench.model("a", "learner\n"), bench.model("b", "numbers-of-us==2\n")]
    needed = {bench.store.digest(model, EnvManager.UV) for model in models}
    done = threading.Event()

    def tidy() -> None:
        while not done.is_set():
            bench.store.tidy(needed)

    tidying = asyncio.create_task(asyncio.to_thread(tidy))
    try:
        for model in models:
            assert await bench.built(model)
    finally:
        done.set()
        await tidying


def _lives(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
