"""A parent is another one for other code, and has its code in memory."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import model_deployment
from model_deployment.worker import protocol

ROOT = Path(model_deployment.__file__).parent
#: Prints the files of this package that the processes of a model import.
IMPORTS = """
import importlib, pkgutil, sys
import model_deployment.worker as worker
for module in pkgutil.iter_modules(worker.__path__):
    importlib.import_module(f"model_deployment.worker.{module.name}")
print(*(module.__file__ for name, module in sys.modules.items() if name.startswith("model_deployment.")))
"""
#: Prints the modules of a model server that a parent has not imported when it forks.
MISSING = """
import pkgutil, sys
import model_deployment.worker as worker
from model_deployment.worker import __main__ as program, preload
preload.preload([*program._OWN, *program._SERVING, *program._LATER])
names = {f"model_deployment.worker.{module.name}" for module in pkgutil.iter_modules(worker.__path__)}
# Programs of their own, for which nothing is forked: that of containers, and the trial of a release.
others = "contained", "limits", "onnx_compare", "onnx_form", "onnx_inputs", "onnx_sklearn"
names -= {f"model_deployment.worker.{name}" for name in others}
print(*sorted(names - sys.modules.keys()))
"""


def printed(program: str) -> list[str]:
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return answer.stdout.split()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package in another place."""
    made = tmp_path / "model_deployment"
    for name in protocol.PACKAGES:
        shutil.copytree(ROOT / name, made / name)
    return made


def test_same_code_has_the_same_digest_in_another_place(copy: Path) -> None:
    assert protocol.code_digest(copy) == protocol.CODE


def test_module_of_another_name_or_content_changes_the_digest(copy: Path) -> None:
    module = copy / "worker" / "fast_path.py"
    module.rename(copy / "worker" / "lean.py")
    renamed = protocol.code_digest(copy)
    (copy / "worker" / "lean.py").rename(module)
    module.write_text(module.read_text() + "#")
    changed = protocol.code_digest(copy)
    assert len({protocol.CODE, renamed, changed}) == 3


def test_digest_covers_all_that_a_model_server_imports() -> None:
    packages = {Path(file).relative_to(ROOT).parts[0] for file in printed(IMPORTS)}
    assert packages == set(protocol.PACKAGES)


def test_fork_finds_all_its_code_imported() -> None:
    assert printed(MISSING) == []
