"""Environments of virtualenv, built by real pip; and of conda, whose place is taken by a small program."""

import sys
from pathlib import Path

import yaml

from model_deployment.core.options import EnvManager
from tests.support.environment_bench import EnvironmentBench, installed, said
from tests.support.tiny_wheels import wheel

#: Takes the arguments of conda, and makes a folder that looks like what it makes.
_CONDA = f"""#!{sys.executable}
import os, pathlib, shutil, subprocess, sys
assert sys.argv[1:3] == ["env", "create"], sys.argv
prefix, file = sys.argv[sys.argv.index("-p") + 1], sys.argv[sys.argv.index("-f") + 1]
home = pathlib.Path(os.environ["CONDA_EXE"]).parents[1]
shutil.copy(file, home / "got.yaml")
print("Solving environment: ...working... done", flush=True)
subprocess.run([{sys.executable!r}, "-m", "venv", "--without-pip", prefix], check=True)
pathlib.Path(prefix, "conda-meta").mkdir()
if (home / "fails").exists():
    sys.exit((home / "fails").read_text())
packages = next(pathlib.Path(prefix).glob("lib/python*/site-packages"))
(packages / "mlflow/pyfunc").mkdir(parents=True)
(packages / "mlflow/__init__.py").write_text("__version__ = '3.17.2'")
(packages / "mlflow/pyfunc/__init__.py").write_text("")
info = packages / "mlflow-3.17.2.dist-info"
info.mkdir()
(info / "METADATA").write_text("Metadata-Version: 2.1\\nName: mlflow\\nVersion: 3.17.2\\n")
(info / "RECORD").write_text("mlflow/__init__.py,,\\n")
"""


async def test_virtualenv_is_built_by_pip_and_works_where_it_is_published(
    bench: EnvironmentBench,
) -> None:
    model = bench.model("a", "learner==1.5\nwheels/own-1.0-py3-none-any.whl\nmlflow==2.22.0\n")
    wheel(model / "wheels", "own", "1.0")
    found = await bench.built(model, EnvManager.VIRTUALENV)
    packages = installed(found)
    assert (packages["learner"], packages["own"], packages["numbers-of-us"]) == (
        "1.5",
        "1.0",
        "1.0",
    )
    assert found.serves
    assert said(found.folder / "bin/mlflow") == "a tiny mlflow\n"
    for path in [found.folder / "pyvenv.cfg", *found.folder.glob("bin/*")]:
        assert b"/drafts/" not in (path.read_bytes() if not path.is_symlink() else b"")


def _conda(bench: EnvironmentBench) -> Path:
    home = bench.folder / "conda"
    program = home / "bin/conda"
    program.parent.mkdir(parents=True)
    program.write_text(_CONDA)
    program.chmod(0o755)
    bench.variables["CONDA_EXE"] = str(program)
    return home


def _conda_model(bench: EnvironmentBench) -> Path:
    model = bench.model("a", "ignored-by-conda\n")
    (model / "conda.yaml").write_text(
        "name: mlflow-env\nchannels:\n- conda-forge\ndependencies:\n- python=3.11.7\n- libgomp\n"
        "- pip<=23\n- pip:\n  - learner==1.5\n"
    )
    return model


async def test_environment_of_conda_stays_where_it_was_made_behind_a_link(
    bench: EnvironmentBench,
) -> None:
    home = _conda(bench)
    model = _conda_model(bench)
    found = await bench.built(model, EnvManager.CONDA)
    assert (found.folder / "conda-meta").is_dir()
    assert found.folder == bench.root / found.digest
    assert found.folder.is_symlink()
    got = yaml.safe_load((home / "got.yaml").read_text())
    assert got["channels"] == ["conda-forge"]
    assert got["dependencies"][:3] == ["libgomp", "pip<=23", "python=3.11.7"]
    assert {"learner==1.5", "mlflow==3.17.2", "uvicorn"} <= {*got["dependencies"][3]["pip"]}
    # A broken one is exchanged by one rename, and what it was is removed later.
    before = found.folder.resolve()
    found.python.unlink()
    assert bench.store.find(found.digest) is None
    assert await bench.built(model, EnvManager.CONDA) == found
    assert found.folder.resolve() != before
    assert before.exists()
    bench.store.tidy({found.digest})
    assert not before.exists()
    assert bench.store.find(found.digest) == found
    bench.restart().tidy(set())
    assert [path for path in bench.root.rglob("*") if path.is_dir()] == [
        path for path in bench.root.iterdir() if path.is_dir()
    ]


async def test_failure_of_conda_leaves_nothing(bench: EnvironmentBench) -> None:
    home = _conda(bench)
    (home / "fails").write_text(
        "LibMambaUnsatisfiableError: Encountered problems while solving:\n"
        "  - nothing provides requested libgomp\n"
    )
    error = await bench.failure(_conda_model(bench), EnvManager.CONDA)
    assert error.permanent
    assert "nothing provides requested libgomp" in str(error)
    assert [*bench.root.glob("conda/*")] == []


async def test_conda_that_is_missing_is_said(bench: EnvironmentBench) -> None:
    bench.variables["MLFLOW_CONDA_HOME"] = "/nonexistent"
    assert "no program conda in /nonexistent" in bench.store.obstacle(EnvManager.CONDA)
