"""The inputs of a model are read from its artifacts, each once."""

import json
from pathlib import Path

import pytest
import yaml

from model_deployment.monitoring.known import Known
from tests.unit.bodies import CSV, spec, taken


def model(folder: Path, artifact: str, inputs: object) -> Path:
    path = folder / artifact / "model"
    path.mkdir(parents=True)
    signature = {"inputs": json.dumps(inputs), "outputs": None, "params": None}
    (path / "MLmodel").write_text(yaml.safe_dump({"signature": signature}))
    return path


def test_a_signature_is_read_once(tmp_path: Path) -> None:
    path = model(tmp_path, "m-1-0", [spec("string", "zip")])
    known = Known(tmp_path)
    found = known("m-1-0")
    assert taken(found, CSV, b"zip\n01\n") == {"zip": ["01"]}
    (path / "MLmodel").unlink()
    assert known("m-1-0") is found


def test_one_that_is_not_there_yet_is_looked_for_again(tmp_path: Path) -> None:
    known = Known(tmp_path)
    assert known("m-1-0").names == []
    model(tmp_path, "m-1-0", [spec("string", "zip")])
    assert known("m-1-0").names == ["zip"]


@pytest.mark.parametrize("artifact", ["", ".", "..", "../other", "/etc", "a/b", "\0"])
def test_a_name_leads_nowhere_else(tmp_path: Path, artifact: str) -> None:
    model(tmp_path, "other", [spec("string", "zip")])
    (folder := tmp_path / "models").mkdir()
    assert Known(folder)(artifact).names == []
    assert Known(None)("other").names == []


@pytest.mark.parametrize("inputs", [7, [7], [{"type": "array", "name": "x", "items": 7}], None])
def test_a_signature_that_is_none_takes_nothing_away(tmp_path: Path, inputs: object) -> None:
    model(tmp_path, "m-1-0", inputs)
    assert taken(Known(tmp_path)("m-1-0"), CSV, b"x\n01\n") == {"x": ["01"]}


def test_models_without_a_signature_have_no_types(tmp_path: Path) -> None:
    path = model(tmp_path, "m-1-0", [])
    (path / "MLmodel").write_text("flavors: {}\n")
    assert Known(tmp_path)("m-1-0").names == []
