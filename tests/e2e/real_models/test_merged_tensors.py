"""Requests of real models of tensors that wait together, with a real controller."""

import asyncio
import random
from typing import Any

import httpx
import pytest

from model_deployment.core.options import AUTO_MAX_ROWS
from tests.support.controller_program import Program

pytestmark = pytest.mark.timeout(200)


def deployed(program: Program, name: str, **options: Any) -> dict[str, Any]:
    """What is said of a model's requests once it is ready."""
    answer = program.post(f"/deploy/{name}/1?wait=120", json=options)
    assert answer.status_code == 200, answer.text
    merging: dict[str, Any] = program.get(f"/model/{name}-1").json()["serving"]["merging"]
    return merging


async def together(program: Program, name: str, bodies: list[Any]) -> list[httpx.Response]:
    async with httpx.AsyncClient(timeout=60) as client:
        return await asyncio.gather(
            *[client.post(f"{program.url}/{name}-1", json=body) for body in bodies]
        )


def merged_calls(program: Program, name: str) -> int:
    found: int = program.get(f"/model/{name}-1").json()["serving"]["batches"]
    return found


async def test_a_graph_of_images_is_merged_by_itself(program: Program) -> None:
    merging = deployed(program, "images")
    assert merging["max_rows"] == AUTO_MAX_ROWS
    assert merging["reason"].startswith("its operations look at one row at a time, and 8 rows")
    draw = random.Random(0)

    def image() -> Any:
        return [[[draw.uniform(0, 1) for _ in range(3)] for _ in range(2)] for _ in range(2)]

    bodies = [{"inputs": [image() for _ in range(1 + n % 3)]} for n in range(60)]
    alone = [program.post("/images-1", json=body).json()["predictions"] for body in bodies]
    answers = await together(program, "images", bodies)
    assert merged_calls(program, "images") > 0
    for answer, own, body in zip(answers, alone, bodies, strict=True):
        found = answer.json()["predictions"]
        assert found["label"] == own["label"]
        assert len(found["p"]) == len(body["inputs"])
        assert [p for row in found["p"] for p in row] == pytest.approx(
            [p for row in own["p"] for p in row], rel=1e-4
        )


async def test_windows_of_several_lengths_merge_with_their_like(program: Program) -> None:
    merging = deployed(program, "windows", batch_max_rows=32)
    assert merging == {
        "max_rows": 32,
        "reason": "batch_max_rows is 32, and rows are predicted alike alone and together",
    }
    draw = random.Random(0)

    def window(length: int, k: int) -> Any:
        return {"x": [[draw.uniform(-1, 1) for _ in range(12)] for _ in range(length)], "k": k}

    bodies: list[Any] = []
    for n in range(80):
        one = window(1 + n % 3, -1 if n % 20 == 7 else n)
        as_rows = {"instances": [one]}
        bodies.append(as_rows if n % 2 else {"inputs": {name: [v] for name, v in one.items()}})
    alone = [program.post("/windows-1", json=body) for body in bodies]
    answers = await together(program, "windows", bodies)
    assert merged_calls(program, "windows") > 0
    for n, (answer, own) in enumerate(zip(answers, alone, strict=True)):
        # A row that the model cannot predict fails its own request, and no other.
        assert answer.status_code == own.status_code == (502 if n % 20 == 7 else 200)
        if own.status_code == 200:
            found, wanted = answer.json()["predictions"], own.json()["predictions"]
            assert found["score"][0] == pytest.approx(wanted["score"][0], rel=1e-4, abs=1e-4)
            assert found["steps"] == pytest.approx(wanted["steps"], rel=1e-4, abs=1e-5)


def test_a_model_that_looks_at_the_whole_batch_is_found_out(program: Program) -> None:
    merging = deployed(program, "batch-softmax")
    assert merging["max_rows"] == 0
    assert merging["reason"].startswith("it is a custom Python model")
    assert program.post("/undeploy/batch-softmax-1?wait=60").status_code == 200
    answer = program.post("/deploy/batch-softmax/1?wait=120", json={"batch_max_rows": 8})
    assert answer.status_code == 502
    assert (
        "its requests must not be merged (batch_max_rows): its prediction for a row" in answer.text
    )
