"""Environments are built once by real uv, from an index of tiny wheels."""

import asyncio
import shutil
import time
from pathlib import Path

import pytest

from model_deployment.core.options import EnvManager
from model_deployment.environments.environment import Building, Ready
from tests.support import tiny_wheels
from tests.support.environment_bench import HERE, EnvironmentBench, installed, said
from tests.support.tiny_wheels import sdist, wheel
from tests.support.waiting import until


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


async def test_server_that_does_not_fit_is_left_out(bench: EnvironmentBench) -> None:
    wheel(bench.index, "uvicorn", tiny_wheels.SERVER["uvicorn"], requires=["numbers-of-us>=2"])
    found = await bench.built(bench.model("a", "numbers-of-us==1.0\n"))
    assert not found.serves
    assert found.mlflow_version == "3.17.2"
    assert "uvicorn" not in installed(found)
    assert "uvicorn" in (found.folder / "environment.json").read_text()


async def test_other_last_number_of_python_is_taken_and_said(bench: EnvironmentBench) -> None:
    found = await bench.built(bench.model("a", "learner\n", python=f"{HERE}.99"))
    assert found.python_version.startswith(f"{HERE}.")
    log = bench.store.log(found.digest).read_text()
    assert f"Python {HERE}.99 cannot be had" in log
    assert f"built with {found.python_version}" in log


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
