"""Packages that are among the files of a model are built and installed from there."""

import shutil

from tests.support import tiny_wheels
from tests.support.environment_bench import EnvironmentBench, installed
from tests.support.tiny_wheels import wheel


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


async def test_model_that_asks_for_no_index_needs_not_bring_what_builds_packages(
    bench: EnvironmentBench,
) -> None:
    model = bench.model(
        "a", "--no-index\n--find-links ./wheels\nown\nmlflow\n", build=["pip==23.2.1"]
    )
    wheel(model / "wheels", "own", "1.0")
    shutil.copy(bench.index / "mlflow-2.9.2-py3-none-any.whl", model / "wheels")
    shutil.rmtree(bench.index)
    bench.index.mkdir()
    found = await bench.built(model)
    assert installed(found) == {"own": "1.0", "mlflow": "2.9.2"}
    assert "without pip==23.2.1: " in bench.store.log(found.digest).read_text()


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
