"""What the gate, the rewriting of answers and batching do with real MLflow model servers."""

import asyncio
import json
import random
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.controller_program import Program

pytestmark = pytest.mark.timeout(200)

#: What ``moody.py`` raises.
TRACE = "a secret of the model"


@pytest.fixture(scope="module", autouse=True)
def moody(program: Program) -> None:
    """The moody model serves, and merges waiting requests."""
    answer = program.post("/deploy/moody/1?wait=120", json={"batch_max_rows": 50})
    assert answer.status_code == 200, answer.text


def ask(program: Program, *rows: tuple[str, Any], **more: Any) -> httpx.Response:
    records = [{"mood": mood, "marker": marker} for mood, marker in rows]
    return program.post("/moody-1", json={"dataframe_records": records}, **more)


def test_the_curl_line_that_is_shown_works(program: Program) -> None:
    answer = program.run_shell(program.get("/model/moody-1").json()["curl"])
    assert json.loads(answer) == {"predictions": [2.0, 4.0]}


def test_a_number_that_would_be_cut_off_never_reaches_the_model(program: Program) -> None:
    answer = ask(program, ("fine", 1), ("fine", 1.5))
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert (error["row"], error["column"], error["got"]) == (1, "marker", "1.5")
    kinds = program.get("/model/moody-1").json()["serving"]["violations"]
    assert {"column": "marker", "kind": "lossy", "count": 1} in kinds


def test_a_prediction_that_is_no_number_is_null(program: Program) -> None:
    answer = ask(program, ("fine", 2), ("nan", 3))
    assert answer.status_code == 200
    assert answer.json() == {"predictions": [4.0, None]}


def test_an_exception_in_the_model_stays_in_its_log(program: Program) -> None:
    answer = ask(program, ("fail", 1), headers={"X-Request-Id": "find-me"})
    assert answer.status_code == 502
    assert answer.headers["x-request-id"] == "find-me"
    assert answer.json()["title"] == "Model failed"
    assert TRACE not in answer.text
    assert "Traceback" not in answer.text
    log = program.get("/model/moody-1/logs").text
    after = log.partition("request find-me: ")[2]
    assert TRACE in after
    assert "Traceback" in after


def test_a_bare_record_is_enough(program: Program) -> None:
    answer = program.post("/moody-1", json={"mood": "fine", "marker": 21})
    assert answer.json() == {"predictions": [42.0]}


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["mood", "marker", "inputs", "instances", "dataframe_records"])
            | st.sampled_from(["dataframe_split", "columns", "data", "params", "messages", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.binary(max_size=40) | anything.map(lambda value: json.dumps(value).encode()))
@example(b"\xff{}")
@example(b"\x00")
@example(b'{"inputs": {"mood": ["\\u0000"], "marker": [1]}}')
@example(b'{"inputs": {"mood": ["\\ud800"], "marker": [1]}}')
@example(b"[" * 100_000)
@example(b'{"a":' * 5_000)
@example(b"1" * 100_000)
@example(b'{"mood": "fine", "marker": ' + b"9" * 5_000 + b"}")
@example(b'{"mood": "fine", "marker": 1e999}')
@example(b'{"mood": "fine", "marker": NaN}')
@example(b'{"mood": "fine", "marker": 1, "marker": 2}')
def test_no_body_at_all_is_a_failure_of_the_server(program: Program, body: bytes) -> None:
    answer = program.post("/moody-1", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (200, 400, 422), answer.text
    json.loads(answer.text, parse_constant=pytest.fail)


async def test_merged_requests_get_their_own_answers_and_failures(program: Program) -> None:
    before = program.get("/model/moody-1").json()["serving"]["batches"]
    chance = random.Random(0)
    requests = []
    for caller in range(200):
        moods = chance.choices(("fine", "nan", "slow", "fail"), (80, 10, 9, 1))
        requests.append([(moods[0], caller * 10 + row) for row in range(chance.randint(1, 4))])
    requests[100] = [("slow", 1), ("fail", 2)]

    async with httpx.AsyncClient(timeout=60) as client:
        waiting = asyncio.Semaphore(40)

        async def one(rows: list[tuple[str, int]]) -> httpx.Response:
            body = [{"mood": mood, "marker": marker} for mood, marker in rows]
            async with waiting:
                return await client.post(f"{program.url}/moody-1", json=body)

        answers = await asyncio.gather(*map(one, requests))
    for rows, answer in zip(requests, answers, strict=True):
        if any(mood == "fail" for mood, _ in rows):
            assert answer.status_code == 502
            continue
        assert answer.status_code == 200, answer.text
        expected = [None if mood == "nan" else 2.0 * marker for mood, marker in rows]
        assert answer.json() == {"predictions": expected}
    assert program.get("/model/moody-1").json()["serving"]["batches"] > before


def test_a_model_that_looks_at_all_rows_is_not_merged(program: Program) -> None:
    refused = program.post("/deploy/ranking/1?wait=120", json={"batch_max_rows": 50})
    assert refused.status_code == 502
    assert "must not be merged" in refused.json()["reason"]
    assert "gave up" not in refused.json()["reason"]
    assert program.post("/deploy/ranking/1?wait=120").status_code == 200
    answer = program.post("/ranking-1", json=[{"value": 3.0}, {"value": 1.0}])
    assert answer.json() == {"predictions": [2.0, 1.0]}
