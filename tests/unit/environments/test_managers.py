"""What a manager does where pip finds no version: its index may have answered with an error."""

import shlex
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from model_deployment.core.options import EnvManager
from model_deployment.environments.build_log import BuildLog
from model_deployment.environments.managers import Job, make
from model_deployment.environments.needs import Needs
from model_deployment.environments.pythons import Python
from model_deployment.environments.workshop import StepFailed, Workshop

TOLD = (Path(__file__).parent / "outputs/pip-no-such-package.txt").read_text()
TOKEN = "token-of-us"
UNREAD = f"17:03 Could not fetch URL http://i/{TOKEN}/x/: 503 Server Error - skipping"

Install = Callable[[str, str], None]


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Installs with a pip whose tries are these lines of a shell."""

    def run(first: str, second: str) -> None:
        program = tmp_path / "draft/env/bin/python"
        program.parent.mkdir(parents=True)
        tried = shlex.quote(str(tmp_path / "tried"))
        program.write_text(
            f"#!/bin/sh\nif [ -e {tried} ]; then {second}; else touch {tried}; {first}; fi\n"
        )
        program.chmod(0o755)
        needs = Needs(EnvManager.VIRTUALENV, "3.11", ("nosuchpackage-xyzzy==1",))
        with BuildLog(tmp_path / "build.log", [TOKEN]) as log:
            work = Workshop(
                draft=tmp_path / "draft",
                environment={"PATH": "/usr/bin:/bin"},
                log=log,
                tell=lambda text: None,
                end=time.monotonic() + 60,
                timeout=60,
                stop=threading.Event(),
            )
            work.sources.mkdir()
            make(Job(needs, (), tmp_path / "draft/env"), Python("python", "3.11.7"), work)

    return run


def fails(lines: str) -> str:
    return f"printf %s {shlex.quote(lines)}; exit 1"


def test_index_that_answers_the_second_time_costs_no_try(install: Install) -> None:
    install(fails(TOLD), "exit 0")


@pytest.mark.parametrize(
    ("log", "permanent"), [(UNREAD, False), ("Looking in indexes", True)], ids=["503", "none"]
)
def test_failure_is_permanent_unless_the_index_answered_with_an_error(
    install: Install, log: str, permanent: bool
) -> None:
    writes = f'for log; do :; done; echo {shlex.quote(log)} > "$log"; '
    with pytest.raises(StepFailed) as raised:
        install(fails(TOLD), writes + fails(TOLD))
    found = raised.value.explanation
    assert "nosuchpackage-xyzzy" in found.text
    assert found.permanent == permanent
    assert ("503 Server Error" in found.text) == (not permanent)
    assert TOKEN not in found.text


def test_what_fails_otherwise_is_not_tried_again(install: Install) -> None:
    with pytest.raises(StepFailed, match="disk"):
        install(fails("ERROR: [Errno 28] No space left on device"), "exit 0")
