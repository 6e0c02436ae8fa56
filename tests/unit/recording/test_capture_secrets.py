"""A column that is to be hashed or left out is never kept in clear, whatever form a body has."""

import json
from typing import Any

import pandas as pd
import pytest

from model_deployment.recording.capture import document, encode, left_out
from model_deployment.tabular.input_columns import ModelInputs
from tests.support.bodies import CSV, JSON, PARQUET, csv, parquet, records, spec

SECRET = "AB-1234"
SPECS = [spec("string", "ssn"), spec("long", "n")]
FRAME = pd.DataFrame({"n": [1], "ssn": [SECRET]})
FORMS = [
    (JSON, records([{"n": 1, "ssn": SECRET}])),
    (JSON, json.dumps({"dataframe_split": {"columns": ["n", "ssn"], "data": [[1, SECRET]]}}).encode()),
    (JSON, json.dumps({"ssn": SECRET, "n": 1}).encode()),
    (CSV, csv(FRAME)),
    (CSV, b"\xef\xbb\xbf" + csv(FRAME[["ssn", "n"]], quoting=1)),
    (PARQUET, parquet(FRAME)),
]  # fmt: skip


def kept(media_type: str, body: bytes, specs: Any = (), **options: Any) -> dict[str, Any]:
    head = {
        "model": "m", "version": 1, "launch_id": "l", "at": 1.0, "request_id": "r", "latency_ms": 1,
        "media_type": media_type, "artifact": "m-1-0",
    }  # fmt: skip
    payload = b"".join(encode(head | options, body, b'{"predictions": [1]}'))
    return document("id", payload, 10**6, b"salt", lambda artifact: ModelInputs(specs))


def shown(found: dict[str, Any]) -> str:
    return json.dumps({**found, "ts": None})


@pytest.mark.parametrize("specs", [SPECS, []])
@pytest.mark.parametrize(("media_type", "body"), FORMS)
def test_a_column_is_left_out_of_every_form(media_type: str, body: bytes, specs: Any) -> None:
    found = kept(media_type, body, specs, exclude=["ssn"])
    assert (found["columns"], found["data"], found["left_out"]) == (["n"], [[1]], "")
    assert SECRET not in shown(found)


@pytest.mark.parametrize("specs", [SPECS, []])
def test_a_digest_is_the_same_in_every_form(specs: Any) -> None:
    digests = set()
    for media_type, body in FORMS:
        found = kept(media_type, body, specs, hash=["ssn"])
        assert SECRET not in shown(found)
        digests.add(found["data"][0][found["columns"].index("ssn")])
    assert len(digests) == 1


def test_numbers_have_one_digest_by_the_signature() -> None:
    specs = [spec("double", "x")]
    bodies = [
        (JSON, b'{"x": 3}'),
        (JSON, b'{"x": 3.0}'),
        (CSV, b"x\n3\n"),
        (CSV, b"x\n+3.00\n"),
        (PARQUET, parquet(pd.DataFrame({"x": [3.0]}))),
    ]
    assert len({kept(*body, specs, hash=["x"])["data"][0][0] for body in bodies}) == 1


@pytest.mark.parametrize(
    ("media_type", "body", "specs"),
    [
        # The signature names what the caller does not.
        (JSON, json.dumps({"inputs": [[1, SECRET]]}).encode(), [spec("long", "n"), spec("string", "ssn")]),
        (CSV, f"0,1\n1,{SECRET}\n".encode(), [spec("long", "n"), spec("string", "ssn")]),
        # Known by its place, and the caller names it.
        (CSV, csv(FRAME), [spec("long"), spec("string")]),
        (PARQUET, parquet(FRAME), [spec("long"), spec("string")]),
        # Named twice, or otherwise.
        (CSV, f"n,ssn,ssn\n1,{SECRET},{SECRET}\n".encode(), SPECS),
        (CSV, f"n, SSN \n1,{SECRET}\n".encode(), []),
        # The index of a frame.
        (PARQUET, parquet(FRAME.set_index("ssn")), []),
    ],
)  # fmt: skip
def test_a_column_is_known_by_each_of_its_names(media_type: str, body: bytes, specs: Any) -> None:
    found = kept(media_type, body, specs, exclude=["ssn"])
    assert SECRET not in shown(found)
    assert (found["data"], found["left_out"]) == ([[1]], "")


@pytest.mark.parametrize(
    ("media_type", "body"),
    [(JSON, json.dumps({"inputs": [[1, SECRET]]}).encode()), (CSV, f"0,1\n1,{SECRET}\n".encode())],
)
@pytest.mark.parametrize("options", [{"exclude": ["ssn"]}, {"hash": ["ssn"]}])
@pytest.mark.parametrize("specs", [[], [spec("long"), spec("string")]])
def test_inputs_are_left_out_if_hidden_columns_are_unknown(
    media_type: str, body: bytes, options: Any, specs: Any
) -> None:
    found = kept(media_type, body, specs, **options)
    assert SECRET not in shown(found)
    assert (found["columns"], found["data"], found["rows"]) == ([], [], 0)
    assert (found["left_out"], found["predictions"]) == ("secret", [1])
    place = {name: ["f1"] for name in options}
    assert kept(media_type, body, specs, **place)["left_out"] == ""


def test_all_columns_may_be_excluded() -> None:
    found = kept(JSON, b'{"x": [1, 2]}', [], exclude=["x"])
    assert (found["columns"], found["data"], found["rows"]) == ([], [[]], 1)
    assert left_out(found) is None


@pytest.mark.parametrize(
    ("capture", "why"),
    [
        ({"left_out": "too_large", "truncated": True}, "too_large"),
        ({"left_out": "", "columns": []}, None),
        # Of earlier releases.
        ({"truncated": True, "note": "body and answer have 9 bytes"}, "too_large"),
        ({"note": "no table of rows in the body (application/vnd.apache.parquet)"}, "unreadable"),
        ({"note": "the answer is no JSON", "columns": ["x"]}, None),
        ({}, None),
    ],
)
def test_why_a_capture_has_no_inputs(capture: dict[str, Any], why: str | None) -> None:
    assert left_out(capture) == why
