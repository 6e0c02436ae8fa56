"""Modules of a model's environment may do anything when they are imported."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PRELOAD = """
import gc, json, sys
from model_deployment.worker import preload
gc.disable()
found = preload.preload(json.loads(sys.argv[1]), **json.loads(sys.argv[2]))
print(json.dumps([found.modules, found.refused, found.culprit and f"{found.culprit} {found.why}"]))
"""
#: Behind it: a fork that closes all that it has inherited, and uses what a module has opened.
FORK = """
import os, harmless
from model_deployment.worker import process_setup
if os.fork() == 0:
    process_setup.close_all_but({0, 1, 2})
    harmless.null.write("x")
    harmless.null.flush()
    os._exit(os.fstat(harmless.file.fileno()).st_size != len(harmless.pages))
print(json.dumps(os.waitstatus_to_exitcode(os.wait()[1])))
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
        "loops": "import asyncio; loop = asyncio.new_event_loop()",
        "connects": "import socket; pair = socket.socketpair()",
        "writes": "file = open(__file__ + '.log', 'a')",
        "forgets": "class It: pass\nit = It()\nit.me, it.file = it, open(__file__)\ndel it",
        "reads": "file = open(__file__)",
        "starts": "import subprocess; it = subprocess.Popen(['sleep', '20'])",
        "threads": "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
        "harmless": "import mmap, os\nnull = open(os.devnull, 'w')\nfile = open(__file__)\n"
        "pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)",
    }.items():
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def preloaded(folder: Path, names: list[str], then: str = "", **limits: float) -> Any:
    root = Path(__file__).parents[3]
    answer = subprocess.run(
        [sys.executable, "-c", PRELOAD + then, json.dumps(names), json.dumps(limits)],
        capture_output=True, text=True, check=True, timeout=30,
        env={"PYTHONPATH": f"{root}:{folder}"},
    )  # fmt: skip
    return json.loads(answer.stdout.splitlines()[-1])


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


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("loops", "keeps anon_inode:[eventpoll] open"),
        ("connects", "keeps socket:"),
        ("writes", "writes.py.log open"),
        ("reads", "reads.py open"),
        ("starts", "started another program"),
        ("threads", "starts threads ("),
    ],
)
def test_module_that_forks_cannot_share_is_named(modules: Path, name: str, why: str) -> None:
    found, refused, culprit = preloaded(modules, ["quick", name, "other"])
    assert found == ["quick", name]
    assert not refused
    assert culprit.startswith(f"{name} ")
    assert why in culprit


def test_file_that_was_forgotten_in_a_cycle_is_no_obstacle(modules: Path) -> None:
    assert preloaded(modules, ["forgets", "other"]) == [["forgets", "other"], {}, ""]


def test_what_forks_can_share_stays_open_in_them(modules: Path) -> None:
    assert preloaded(modules, ["harmless"])[2] == ""
    assert preloaded(modules, ["harmless"], FORK) == 0
