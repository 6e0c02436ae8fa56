"""The trial of a model ends, whatever its code does, and what it left is read with care."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from model_deployment.core.errors import DiskFull
from model_deployment.runtime import identity
from model_deployment.runtime.model_trial import ModelTrial, ModelTrials
from tests.support.harness import ROOT
from tests.support.waiting import until

PROGRAM = "tests.support.trial_programs"
INSTANCE = f"test-of-trials-{os.getpid()}"
#: A controller that tries a model that hangs.
_CONTROLLER = """
import asyncio, sys
from pathlib import Path
from model_deployment.runtime.model_trial import ModelTrials
folder, instance, program = Path(sys.argv[1]), *sys.argv[2:]
asyncio.run(ModelTrials({}, instance, module=program).run(folder / "hangs", folder))
"""


async def trial(folder: Path, does: str, seconds: float = 60) -> ModelTrial:
    trials = ModelTrials({"GRANTED": "yes"}, INSTANCE, module=PROGRAM, seconds=seconds)
    out = folder / "out"
    out.mkdir()
    return await trials.run(folder / does, out)


@pytest.mark.parametrize(
    ("does", "why"),
    [
        ("is killed", "its process was ended by SIGKILL, perhaps for lack of memory: it may take 4096 MiB"),
        ("takes too long", "it took more than 900 s of processor time"),
        ("fails", "its process ended with status 1: ZeroDivisionError: at line 7"),
        ("nothing", "its process left nothing"),
    ],
)  # fmt: skip
async def test_an_end_is_said_and_the_answer_is_kept(tmp_path: Path, does: str, why: str) -> None:
    assert await trial(tmp_path, does) == ModelTrial("example.json", [1.0], 1e-4, why_not=why)


async def test_a_trial_without_a_word_is_no_error(tmp_path: Path) -> None:
    found = await trial(tmp_path, "says nothing")
    assert found == ModelTrial(None, None, 0.0, why_not="its process left nothing")


async def test_a_full_disk_is_no_property_of_the_model(tmp_path: Path) -> None:
    with pytest.raises(DiskFull, match="cannot try the model"):
        await trial(tmp_path, "fills the disk")


@pytest.mark.parametrize("end", ["time", "cancelled"])
async def test_a_trial_that_hangs_ends_with_all_that_it_started(tmp_path: Path, end: str) -> None:
    task = asyncio.create_task(trial(tmp_path, "hangs", seconds=1.5 if end == "time" else 60))
    pids = tmp_path / "out" / "pids"
    found = await until(lambda: pids.read_text().split(), timeout=30)
    if end == "cancelled":
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        assert (await task).why_not == "it took more than 1.5 s"
    await until(lambda: not any(_lives(int(pid)) for pid in found))


def _lives(pid: int) -> bool:
    process = identity.read_process(pid)
    return process is not None and not process.zombie


async def test_a_forged_form_is_not_followed(tmp_path: Path) -> None:
    found = await trial(tmp_path, "forges")
    assert (found.model, found.form) == (None, None)


async def test_odd_files_are_none(tmp_path: Path) -> None:
    found = await trial(tmp_path, "writes odd things")
    assert found == ModelTrial(None, None, 0.0, why_not="its process left nothing")


async def test_the_environment_is_that_of_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    found = await trial(tmp_path, "tells its environment")
    names = {*json.loads(found.why_not[:400] if found.why_not.endswith("}") else "{}")}
    assert "secret" not in found.why_not
    assert {"GRANTED", "MLFLOW_TRACKING_URI", "PATH"} <= names
    own = {
        "LC_CTYPE", "MLFLOW_TRACKING_URI", "MODEL_DEPLOYMENT_LAUNCH", "PATH", "PYTHONHASHSEED",
        "PYTHONUNBUFFERED",
    }  # fmt: skip
    assert names <= {"GRANTED", *own}


async def test_a_trial_ends_with_its_controller(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _CONTROLLER, str(tmp_path), INSTANCE, PROGRAM]
    controller = subprocess.Popen(command, cwd=ROOT)  # noqa: ASYNC220 - it is killed, not awaited
    pids = tmp_path / "pids"
    trial, child = map(int, await until(lambda: pids.read_text().split(), timeout=30))
    controller.kill()
    controller.wait()
    await until(lambda: not _lives(trial))
    ModelTrials({}, "another-instance").end_left()
    assert _lives(child)  # which the code of the model has started
    ModelTrials({}, INSTANCE).end_left()
    await until(lambda: not _lives(child))


async def test_words_do_not_tell_where_the_controller_has_its_files(tmp_path: Path) -> None:
    found = await trial(tmp_path, "names a file")
    assert found.why_not == "FileNotFoundError: 'data/weights.bin' is missing"


async def test_one_model_is_tried_at_a_time(tmp_path: Path) -> None:
    trials = ModelTrials({}, INSTANCE, module=PROGRAM)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    first = asyncio.create_task(trials.run(tmp_path / "hangs", tmp_path / "first"))
    await until((tmp_path / "first" / "pids").exists, timeout=30)
    second = asyncio.create_task(trials.run(tmp_path / "nothing", tmp_path / "second"))
    await asyncio.sleep(0)
    assert os.listdir(tmp_path / "second") == []  # noqa: PTH208
    first.cancel()
    assert (await second).why_not == "its process left nothing"
