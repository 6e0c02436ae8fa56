"""Modules of a model's environment may do anything when they are imported."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PRELOAD = """
import json, sys
from model_deployment.worker import preload
found = preload.preload(json.loads(sys.argv[1]), **json.loads(sys.argv[2]))
print(json.dumps([found.modules, found.refused, found.culprit]))
"""


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """A folder on the path of the program."""
    for name, text in {
        "quick": "x = 1",
        "sleeps": "import time; time.sleep(60)",
        "computes": "while True: pass",
        "stubborn": "import time\ntry: time.sleep(60)\nexcept Exception: time.sleep(60)",
        "exits": "raise SystemExit(3)",
        "fails": "raise KeyError('x')",
        "other": "y = 2",
    }.items():
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def preloaded(folder: Path, names: list[str], **limits: float) -> Any:
    root = Path(__file__).parents[3]
    answer = subprocess.run(
        [sys.executable, "-c", PRELOAD, json.dumps(names), json.dumps(limits)],
        capture_output=True, text=True, check=True, timeout=30,
        env={"PYTHONPATH": f"{root}:{folder}"},
    )  # fmt: skip
    return json.loads(answer.stdout)


@pytest.mark.parametrize("name", ["sleeps", "computes", "stubborn"])
def test_module_that_takes_too_long_is_refused(modules: Path, name: str) -> None:
    found, refused, culprit = preloaded(modules, ["quick", name, "other"], longest=0.2)
    assert found == ["quick", "other"]
    assert refused == {name: "was not imported within 0 s"}
    assert culprit == ""


def test_time_of_all_modules_is_limited(modules: Path) -> None:
    found, refused, _ = preloaded(modules, ["quick", "sleeps", "other"], longest=9, altogether=0.3)
    assert found == ["quick"]
    assert refused.keys() == {"sleeps", "other"}


def test_module_that_fails_or_exits_is_refused(modules: Path) -> None:
    found, refused, _ = preloaded(modules, ["exits", "fails", "missing", "quick"])
    assert found == ["quick"]
    assert refused.keys() == {"exits", "fails", "missing"}
    assert "SystemExit(3)" in refused["exits"]
