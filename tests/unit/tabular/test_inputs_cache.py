"""The inputs of a model are read from its artifacts, each once."""

import json
from pathlib import Path
from typing import cast

import pytest
import yaml

from model_deployment.documents.base import Collection, Documents
from model_deployment.recording.capture import encode
from model_deployment.recording.drain import Drain, DrainConfig
from model_deployment.recording.spool import Spool
from model_deployment.tabular.input_columns import ModelInputs
from model_deployment.tabular.inputs_cache import InputsCache
from tests.support.bodies import CSV, spec, taken
from tests.support.drains import Store


def model(folder: Path, artifact: str, inputs: object) -> Path:
    path = folder / artifact / "model"
    path.mkdir(parents=True)
    signature = {"inputs": json.dumps(inputs), "outputs": None, "params": None}
    (path / "MLmodel").write_text(yaml.safe_dump({"signature": signature}))
    return path


def names_of(known: InputsCache, artifact: str) -> list[str]:
    found = known(artifact)
    assert found is not None
    return found.names


def test_a_signature_is_read_once(tmp_path: Path) -> None:
    path = model(tmp_path, "m-1-0", [spec("string", "zip")])
    known = InputsCache(tmp_path)
    found = known("m-1-0")
    assert found is not None
    assert taken(found, CSV, b"zip\n01\n") == {"zip": ["01"]}
    (path / "MLmodel").unlink()
    assert known("m-1-0") is found


def test_inputs_missing_are_looked_for_again(tmp_path: Path) -> None:
    known = InputsCache(tmp_path)
    assert known("m-1-0") is None
    model(tmp_path, "m-1-0", [spec("string", "zip")])
    assert names_of(known, "m-1-0") == ["zip"]


@pytest.mark.parametrize("artifact", ["", ".", "..", "../other", "/etc", "a/b", "\0"])
def test_artifact_name_with_a_path_finds_nothing(tmp_path: Path, artifact: str) -> None:
    model(tmp_path, "other", [spec("string", "zip")])
    (folder := tmp_path / "models").mkdir()
    assert InputsCache(folder)(artifact) is None
    assert InputsCache(None)("other") is None


@pytest.mark.parametrize("inputs", [7, [7], [{"type": "array", "name": "x", "items": 7}], None])
def test_signature_malformed_leaves_values_unconverted(tmp_path: Path, inputs: object) -> None:
    model(tmp_path, "m-1-0", inputs)
    assert taken(InputsCache(tmp_path)("m-1-0") or ModelInputs(), CSV, b"x\n7\n") == {"x": [7]}


def test_models_without_a_signature_have_no_types(tmp_path: Path) -> None:
    path = model(tmp_path, "m-1-0", [])
    (path / "MLmodel").write_text("flavors: {}\n")
    assert names_of(InputsCache(tmp_path), "m-1-0") == []


async def test_drain_converts_records_by_their_artifacts(tmp_path: Path) -> None:
    model(tmp_path / "models", "m-1-0", [spec("string", "zip"), spec("long", "n")])
    spool = Spool(tmp_path / "spool", max_bytes=10**6)
    spool.open()
    head = {
        "model": "m", "version": 1, "launch_id": "l", "at": 1.0, "latency_ms": 1.0,
        "media_type": CSV,
    }  # fmt: skip
    for id, more in (("new", {"artifact": "m-1-0"}), ("gone", {"artifact": "m-1-7"}), ("old", {})):
        record = head | more | {"request_id": id}
        assert spool.append(encode(record, b"n,zip\n1,10001\n", b'{"predictions": [1]}'))
    spool.close()
    store = Store()
    config = DrainConfig(
        spool=str(tmp_path / "spool"), documents="", max_age=60.0, max_capture_bytes=10**6,
        salt="salt", models=str(tmp_path / "models"),
    )  # fmt: skip
    drain = Drain(config, cast(Documents, store))
    assert await drain.step()
    kept = {one["request_id"]: one for one in store.kept[Collection.CAPTURES].values()}
    assert {id: (one["columns"], one["data"]) for id, one in kept.items()} == {
        "new": (["zip", "n"], [["10001", 1]]),
        "gone": (["n", "zip"], [[1, 10001]]),
        "old": (["n", "zip"], [[1, 10001]]),
    }
    assert [kept[id]["typed"] for id in ("new", "gone", "old")] == [True, False, False]
