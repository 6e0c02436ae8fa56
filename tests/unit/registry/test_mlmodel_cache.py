"""What models say of themselves is read once for each copy of their files."""

import json
import os
import threading
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from model_deployment.core.options import Validation
from model_deployment.registry import mlmodel_cache
from model_deployment.registry.mlmodel import MLmodelReader
from model_deployment.registry.mlmodel_cache import MLmodelCache


class Reader:
    """Counts how often files are read."""

    def __init__(self) -> None:
        self.whole = MLmodelReader()
        self.times = 0

    def __getattr__(self, name: str) -> Any:
        self.times += 1
        return getattr(self.whole, name)


def save(folder: Path, *columns: str, example: Any = None) -> Path:
    """A model as the cache puts it in place: by renames."""
    folder.mkdir(parents=True, exist_ok=True)
    inputs = json.dumps([{"type": "double", "name": name, "required": True} for name in columns])
    document = {
        "flavors": {},
        "signature": {"inputs": inputs, "outputs": None, "params": None},
        "saved_input_example_info": {"serving_input_path": "serving_input_example.json"},
    }
    draft = folder / ".draft"
    draft.write_text(yaml.safe_dump(document))
    draft.replace(folder / "MLmodel")
    if example is not None:
        (folder / "serving_input_example.json").write_text(json.dumps(example))
    return folder


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
def it(reader: Reader) -> MLmodelCache:
    return MLmodelCache(cast(MLmodelReader, reader))


def test_files_are_read_once(it: MLmodelCache, reader: Reader, tmp_path: Path) -> None:
    path = save(tmp_path / "m", "age", "bmi", example={"inputs": [{"age": 1.0, "bmi": 2.0}]})
    first = it.read(path)
    assert [column["name"] for column in (first[0] or {})["inputs"]] == ["age", "bmi"]
    assert it.read(path) is first
    assert it.gate(path, Validation.STRICT) is it.gate(path, Validation.STRICT)
    assert it.gate(path, Validation.COERCE) is not it.gate(path, Validation.STRICT)
    assert it.example(path) == it.example(path)
    assert reader.times == 4


def test_another_copy_at_the_same_place_is_read_anew(
    it: MLmodelCache, reader: Reader, tmp_path: Path
) -> None:
    path = save(tmp_path / "m", "age")
    it.read(path)
    save(tmp_path / "m", "sex")  # as long as the other
    assert (it.read(path)[0] or {})["inputs"][0]["name"] == "sex"
    os.utime(path / "MLmodel", ns=(1, 1))
    it.read(path)
    assert reader.times == 3


def test_missing_files_are_not_remembered(it: MLmodelCache, tmp_path: Path) -> None:
    assert it.read(tmp_path / "m")[0] is None
    assert it.read(save(tmp_path / "m", "age"))[0] is not None


def test_large_examples_are_not_held_and_gates_are(
    it: MLmodelCache, reader: Reader, tmp_path: Path
) -> None:
    path = save(tmp_path / "m", "age", example={"inputs": [{"age": 1.0}] * 50_000})
    assert it.read(path) is not it.read(path)
    assert it.gate(path, Validation.STRICT) is it.gate(path, Validation.STRICT)
    assert reader.times == 3


def test_memory_is_bounded(
    it: MLmodelCache, reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlmodel_cache, "_ENTRIES", 3)
    paths = [save(tmp_path / str(number), "age") for number in range(5)]
    for path in (*paths, paths[4], paths[0]):
        it.read(path)
    assert reader.times == 6


def test_cache_is_thread_safe(it: MLmodelCache, tmp_path: Path) -> None:
    path = save(tmp_path / "m", *(f"column {number}" for number in range(300)))
    found: list[Any] = []
    crew = [
        threading.Thread(target=lambda: found.append(it.gate(path, Validation.STRICT)))
        for _ in range(8)
    ]
    for one in crew:
        one.start()
    for one in crew:
        one.join()
    assert len(found) == 8
