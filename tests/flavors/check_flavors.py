"""A model of each flavor of MLflow answers its own example in every form as ``pyfunc.predict`` does.

``make flavours`` runs this file; its name keeps it out of ``make test``.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.flavors import table
from tests.flavors.compare import Answer, same
from tests.flavors.corpus import FLAVORS
from tests.flavors.flavor import Flavor
from tests.flavors.forms import PARAMS, Request
from tests.flavors.register import tracking_uri
from tests.flavors.table import Outcome
from tests.support.controller_program import Program
from tests.support.waiting import until_sync

pytestmark = [pytest.mark.timeout(1800), pytest.mark.filterwarnings("ignore")]

#: Seconds that a program of the corpus may take, and a deploy with its environment.
PATIENCE = 600


@pytest.fixture(scope="session")
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the registry is."""
    kept = request.config.getoption("--folder")
    made = Path(kept).absolute() if kept else tmp_path_factory.mktemp("flavors")
    made.mkdir(exist_ok=True)
    # Before anything that would make it at the same time as something else.
    _run("mlflow", "db", "upgrade", tracking_uri(made))
    return made


@pytest.fixture(scope="session")
def program(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """One controller for all models."""
    with Program(tmp_path_factory.mktemp("controller"), tracking_uri(folder)) as running:
        # The first look into a registry imports MLflow, and so does the warm parent.
        until_sync(lambda: running.get("/get_model_list").status_code == 200, timeout=PATIENCE)
        until_sync(lambda: _is_warm(running), timeout=PATIENCE, what="the warm parent")
        yield running


def _is_warm(program: Program) -> bool:
    """Whether models are forked; on a busy machine the parent may need several attempts."""
    return any(parent["pid"] for parent in program.get("/environments").json()["parents"])


@pytest.fixture(scope="session", autouse=True)
def _table(request: pytest.FixtureRequest, folder: Path) -> Iterator[None]:
    """The table is written when all models were tried."""
    yield
    if request.config.getoption("--write"):
        table.write(folder, request.config.getoption("--env-manager"))


@pytest.mark.parametrize("name", FLAVORS)
def test_answers_of_a_flavor_are_those_of_pyfunc(
    name: str, folder: Path, program: Program, request: pytest.FixtureRequest
) -> None:
    flavor = FLAVORS[name]
    if flavor.program and shutil.which(flavor.program) is None:
        pytest.skip(f"{flavor.program} is not installed")
    if not all((folder / f"{model}.json").exists() for model in flavor.models):
        _run("tests.flavors.register", name, str(folder))
    manager = request.config.getoption("--env-manager")
    problems = []
    for model in flavor.models:
        told = json.loads((folder / f"{model}.json").read_text())
        outcome = _tried(program, flavor, model, told, manager)
        outcome.keep(folder, manager)
        problems += outcome.problems
    assert not problems, "\n".join(problems)


def _run(*command: str) -> None:
    """A program of the corpus in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, f"cannot run {command[0]}:\n{(done.stdout + done.stderr)[-3000:]}"


def _tried(
    program: Program, flavor: Flavor, model: str, told: dict[str, Any], manager: str
) -> Outcome:
    """Deploy a model, send the requests, compare, and undeploy it."""
    begun = time.monotonic()
    end = begun + PATIENCE
    answer = program.post(f"/deploy/{model}/1?wait=60", json={"env_manager": manager})
    while answer.status_code == 202 and time.monotonic() < end:
        answer = program.post(f"/deploy/{model}/1?wait=60", json={"env_manager": manager})
    outcome = Outcome(model, time.monotonic() - begun, told["bytes"], told["signature"])
    if answer.status_code != 200:
        outcome.problems.append(f"{model}: {answer.text[:1000]}")
        return outcome
    shown = program.get(f"/model/{model}-1").json()
    outcome.merging = shown["serving"]["merging"]
    for one in map(Request.from_json, told["requests"]):
        ours = _ask(program, model, one)
        expected = told["with_params" if one.form == PARAMS else "expected"]
        if ours.status == 200 and same(ours.predictions, expected, flavor.tolerance):
            outcome.equal.append(one.form)
        else:
            theirs = Answer.read(*told["server"][one.form])
            outcome.note(flavor, one.form, ours, theirs)
    # After the requests, whose libraries are imported now.
    process = psutil.Process(shown["pid"])
    for each in (process, *process.children(recursive=True)):
        memory = each.memory_full_info()
        outcome.private += memory.uss
        outcome.pss += memory.pss
    program.post(f"/undeploy/{model}-1?wait=60")
    return outcome


def _ask(program: Program, model: str, request: Request) -> Answer:
    headers = {"Content-Type": request.media_type}
    answer = program.post(f"/{model}-1", content=request.body, headers=headers)
    return Answer.read(answer.status_code, answer.text)
