"""Which Python an environment is based on, of those that are here."""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from model_deployment.core.options import EnvManager
from model_deployment.environments.build_log import BuildLog
from model_deployment.environments.environment import BuildFailed
from model_deployment.environments.pythons import Pythons
from model_deployment.environments.workshop import Workshop

WANTED = "3.10.4"


class Asked(Workshop):
    """A build whose Pythons say what a test has them say."""

    answer: Callable[[], str]

    def ask(self, command: Sequence[str]) -> str:
        return type(self).answer() if command[0].endswith("python3.10") else ""


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Asked]:
    program = tmp_path / f"home/.pyenv/versions/{WANTED}/bin/python3.10"
    program.parent.mkdir(parents=True)
    program.touch(0o755)
    with BuildLog(tmp_path / "build.log") as log:
        yield Asked(
            draft=tmp_path / "draft",
            environment={
                "HOME": str(tmp_path / "home"),
                "PATH": "/nonexistent",
                "UV_PYTHON_DOWNLOADS": "never",
            },
            log=log,
            tell=lambda text: None,
            end=time.monotonic() + 60,
            timeout=60,
            stop=threading.Event(),
        )


def says(version: str, implementation: str = "cpython", level: str = "final") -> str:
    return json.dumps([implementation, version, level, sys.executable])


def test_two_builds_that_ask_the_same_python_both_get_its_answer(work: Asked) -> None:
    asked, answered = threading.Event(), threading.Event()

    def answer() -> str:
        asked.set()
        assert answered.wait(20)
        return says(WANTED)

    Asked.answer = staticmethod(answer)
    pythons = Pythons()
    with ThreadPoolExecutor() as threads:
        first = threads.submit(pythons.find, WANTED, EnvManager.UV, work)
        assert asked.wait(20)
        second = threads.submit(pythons.find, WANTED, EnvManager.UV, work)
        wait([second], timeout=0.1)  # it must not go on with what is not known yet
        answered.set()
        assert [first.result(20).version, second.result(20).version] == [WANTED, WANTED]


def test_python_that_did_not_answer_is_asked_again(work: Asked) -> None:
    answers = iter(["", says(WANTED)])
    Asked.answer = staticmethod(lambda: next(answers))
    pythons = Pythons()
    with pytest.raises(OSError, match=r"no Python 3\.10"):
        pythons.find(WANTED, EnvManager.UV, work)
    assert pythons.find(WANTED, EnvManager.UV, work).version == WANTED


def test_python_that_hangs_is_asked_again_after_some_minutes(work: Asked) -> None:
    now, asked = [0.0], []

    def hang() -> str:
        asked.append(now[0])
        now[0] += 20.0
        return ""

    Asked.answer = staticmethod(hang)
    pythons = Pythons(clock=lambda: now[0])
    for after in (0.0, 1.0, 100.0):
        now[0] += after
        with pytest.raises(BuildFailed, match=r"python3\.10, which does not answer") as raised:
            pythons.find(WANTED, EnvManager.UV, work)
        assert not raised.value.permanent
    assert asked == [0.0]
    now[0] += 300.0
    Asked.answer = staticmethod(lambda: says(WANTED))
    assert pythons.find(WANTED, EnvManager.UV, work).version == WANTED


def test_python_that_hangs_is_asked_again_when_it_has_changed(work: Asked, tmp_path: Path) -> None:
    times = iter(range(0, 10_000, 50))
    pythons = Pythons(clock=lambda: next(times))
    Asked.answer = staticmethod(lambda: "")
    with pytest.raises(BuildFailed, match="does not answer"):
        pythons.find(WANTED, EnvManager.UV, work)
    program = next((tmp_path / "home").rglob("python3.10"))
    os.utime(program, ns=(1, 1))
    Asked.answer = staticmethod(lambda: says(WANTED))
    assert pythons.find(WANTED, EnvManager.UV, work).version == WANTED


@pytest.mark.parametrize("other", [says(WANTED, "pypy"), says(WANTED, level="beta")])
def test_other_pythons_are_not_taken(work: Asked, other: str) -> None:
    Asked.answer = staticmethod(lambda: other)
    with pytest.raises(OSError, match=r"no Python 3\.10"):
        Pythons().find(WANTED, EnvManager.UV, work)
