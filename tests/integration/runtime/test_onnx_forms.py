"""Real models are tried, and get an ONNX form that answers as they do, or a reason why not."""

import base64
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from model_deployment.devices.blobs import digest
from model_deployment.runtime.model_trial import ModelTrial, ModelTrials
from tests.support.device_models import MODELS
from tests.support.harness import ROOT
from tests.support.published import PROJECT, WHEN, FileRegistry, Published, release
from tests.support.small_disk import small_disk

#: Saves and converts all models in one process, since MLflow and scikit-learn take seconds to import.
_CONVERT = """
import os, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
from model_deployment.worker import onnx_form
from tests.support.device_models import MODELS, save_all
models, forms = map(Path, sys.argv[1:])
os.chdir(forms)  # one of the models writes a file where it runs
save_all(models, [])
for name in MODELS:
    (forms / name).mkdir()
    onnx_form.run(models / name, forms / name)
"""
INSTANCE = "test-of-forms"
COLUMNS = ["bmi", "blood pressure", "s1"]


@dataclass(frozen=True)
class Converted:
    """A model, and what its trial wrote."""

    folder: Path
    out: Path

    @property
    def answer(self) -> dict[str, Any]:
        return dict(json.loads((self.out / "answer.json").read_text()))

    @property
    def form(self) -> dict[str, Any]:
        return dict(json.loads((self.out / "form.json").read_text()))

    @property
    def files(self) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in self.folder.iterdir()}

    @property
    def example(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / self.answer["example"]).read_text()))


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Converted]:
    models, forms = tmp_path_factory.mktemp("models"), tmp_path_factory.mktemp("forms")
    done = subprocess.run(
        [sys.executable, "-c", _CONVERT, models, forms],
        cwd=ROOT, capture_output=True, text=True, timeout=150, check=False,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: Converted(models / name, forms / name) for name in MODELS}


@pytest.fixture
def models(converted: dict[str, Converted]) -> Path:
    """The folder of the saved models."""
    return converted["ridge"].folder.parent


CONVERTED = [
    "ridge", "numbered", "mixed forest", "labels", "probabilities", "truths", "tensor", "integers",
    "gaps", "own onnx", "own onnx tensor",
]  # fmt: skip


@pytest.mark.parametrize("name", CONVERTED)
def test_the_agent_gets_the_answer_of_the_manifest(
    converted: dict[str, Converted], name: str
) -> None:
    """As an agent tries a release; what it takes of a request is its own code."""
    from model_deployment_agent.json_values import difference
    from model_deployment_agent.onnx_model import OnnxModel
    from model_deployment_agent.prediction_input import of_example

    one = converted[name]
    form, answer = one.form, one.answer
    model = OnnxModel(one.out / "model.onnx", form["inputs"], form["outputs"])
    given = of_example((one.folder / answer["example"]).read_bytes())
    found = model.predict(given.columns, given.rows)
    expected = form.get("answer", answer["predictions"])
    assert difference(found, expected, answer["tolerance"]) == ""
    assert difference(found[1:], expected, answer["tolerance"])


def onnx_answers(one: Converted, rows: slice = slice(None)) -> list[Any]:
    """What onnxruntime answers, as a device calls it, by the manifest alone."""
    import numpy as np
    import onnxruntime

    form = one.form
    session = onnxruntime.InferenceSession(one.out / "model.onnx")
    feeds = {}
    for taken in form["inputs"]:
        type = np.object_ if taken["type"] == "string" else taken["type"]
        if taken["columns"] is None:
            feeds[taken["name"]] = np.array(one.example["inputs"][rows], type)
        else:
            split = one.example["dataframe_split"]
            names = split.get("columns") or ["0", "1", "2"]
            places = [names.index(name) for name in taken["columns"]]
            values = [[row[place] for place in places] for row in split["data"][rows]]
            feeds[taken["name"]] = np.array(values, type)
    found: list[Any] = session.run([form["outputs"][0]], feeds)[0].tolist()
    return found


@pytest.mark.parametrize(
    ("name", "types", "outputs"),
    [
        ("ridge", {"float64"}, 1),
        ("numbered", {"float64"}, 1),
        ("mixed forest", {"float32", "string"}, 1),
        ("labels", {"float64"}, 2),
        ("probabilities", {"float64"}, 2),
        ("truths", {"float64"}, 2),
        ("tensor", {"float64"}, 1),
        ("integers", {"float64"}, 1),
        ("gaps", {"float32"}, 1),
        ("own onnx", {"float32"}, 1),
        ("own onnx tensor", {"float32"}, 1),
    ],
)
def test_a_model_that_can_be_converted_answers_alike(
    converted: dict[str, Converted], name: str, types: set[str], outputs: int
) -> None:
    one = converted[name]
    assert "why_not" not in one.form, one.form
    assert {taken["type"] for taken in one.form["inputs"]} == types
    assert len(one.form["outputs"]) == outputs
    assert 0 <= one.form["max_difference"] < 1e-4
    expected = one.form.get("answer", one.answer["predictions"])
    answers = onnx_answers(one)
    alone = onnx_answers(one, slice(0, 1))  # devices ask with any number of rows
    if isinstance(expected[0], (str, bool)):
        assert (answers, alone) == (expected, expected[:1])
    else:
        assert answers == [pytest.approx(row, rel=1e-4, abs=1e-4) for row in expected]
        assert alone == [pytest.approx(answers[0], rel=1e-6, abs=1e-6)]


def test_inputs_are_called_as_the_form_has_them(converted: dict[str, Converted]) -> None:
    assert converted["ridge"].form["inputs"] == [
        {"name": "input", "columns": COLUMNS, "type": "float64"}
    ]
    by_column = converted["mixed forest"].form["inputs"]
    assert [taken["columns"] for taken in by_column] == [
        [name] for name in (*COLUMNS, "place", "count")
    ]
    assert by_column[1]["name"] == "blood_pressure"  # names in ONNX have no spaces
    assert converted["tensor"].form["inputs"][0]["columns"] is None


def test_the_prediction_is_the_first_output(converted: dict[str, Converted]) -> None:
    assert converted["labels"].form["outputs"] == ["label", "probabilities"]
    assert converted["probabilities"].form["outputs"] == ["probabilities", "label"]
    assert {*converted["labels"].answer["predictions"]} == {"high", "low"}
    assert {*converted["truths"].answer["predictions"]} == {True, False}
    rows = converted["probabilities"].answer["predictions"]
    assert [sum(row) for row in rows] == [pytest.approx(1)] * 4


def test_the_file_of_an_onnx_model_is_taken_as_it_is(converted: dict[str, Converted]) -> None:
    one = converted["own onnx"]
    assert (one.out / "model.onnx").read_bytes() == (one.folder / "model.onnx").read_bytes()
    assert one.answer["predictions"][0].keys() == {"variable"}
    assert one.form["answer"][0] == [pytest.approx(one.answer["predictions"][0]["variable"])]


@pytest.mark.parametrize(
    ("name", "why", "answers"),
    [
        ("boosted", "it cannot be converted: ", True),
        ("log probabilities", "predict_log_proba(), which has no output in ONNX", True),
        ("text gaps", "the column 'place' of its example has missing values", True),
        ("no example", "the model has no input example", False),
        ("python", "it is a Python model, whose code cannot be converted", True),
        ("params", "the model takes params", True),
        ("times", "ONNX has no type for the column 'at', which is datetime", True),
        ("fails", "the model cannot answer its example here: ", False),
    ],
)
def test_a_model_that_cannot_be_converted_says_why(
    converted: dict[str, Converted], name: str, why: str, answers: bool
) -> None:
    one = converted[name]
    assert why in one.form["why_not"]
    assert not (one.out / "model.onnx").exists()
    assert (one.answer["predictions"] is not None) == answers


def test_the_error_of_a_model_is_told_in_one_line(converted: dict[str, Converted]) -> None:
    why = converted["fails"].form["why_not"]
    assert "ZeroDivisionError" in why
    assert "\n" not in why
    assert len(why) < 400


async def _trial(folder: Path, out: Path, **limits: Any) -> ModelTrial:
    out.mkdir()  # noqa: ASYNC240
    return await ModelTrials({}, INSTANCE, **limits).run(folder, out)


async def test_a_release_has_the_form_and_devices_accept_it(
    converted: dict[str, Converted], tmp_path: Path
) -> None:
    """Conversions have the same bytes: what was lost is made again, and the signed digest stays true."""
    from model_deployment_agent.manifest import Offer, check, opened

    one = converted["mixed forest"]
    published = Published(tmp_path, FileRegistry(one.files), ModelTrials({}, INSTANCE))
    prepared = await published.publisher.prepare(PROJECT, release(7))
    key = await published.key.get()
    offer = Offer(prepared.manifest, prepared.signature, key.id)
    manifest = opened(offer, base64.b64decode(key.public))
    now = int(WHEN.timestamp() * 1000)
    check(manifest, project="hall", highest=7, running=(), now=now)
    assert manifest.onnx == one.form
    assert manifest.answer == {"predictions": one.answer["predictions"], "tolerance": 1e-4}
    onnx = next(file for file in manifest.files if file.path == "onnx/model.onnx")
    assert onnx.sha256 == digest(one.out / "model.onnx")
    assert published.blobs.checked(onnx.sha256)


async def test_a_model_that_takes_more_memory_than_it_may_is_ended(
    models: Path, tmp_path: Path
) -> None:
    found = await _trial(models / "greedy", tmp_path / "out", memory=1 << 30)
    assert "it takes more than the 1024 MiB of memory" in found.why_not
    assert found.model is None


async def test_a_disk_that_is_full_is_told_apart(models: Path, tmp_path: Path) -> None:
    from model_deployment.core.errors import DiskFull

    with small_disk(tmp_path / "disk", "64k") as disk, pytest.raises(DiskFull):
        await _trial(models / "writer", disk / "out")
