"""Which real models ``batch_max_rows=auto`` merges requests of, and what it says of the others."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from model_deployment.core.options import AUTO_MAX_ROWS
from tests.support.controller_program import Program
from tests.support.row_wise_models import COLUMNS, LIBRARIES, installed

pytestmark = pytest.mark.timeout(200)

COMPARED = "8 rows were predicted alike alone, together, shuffled and repeated"
#: By model, what is said of one whose requests are not merged.
APART = {
    "function": "its FunctionTransformer calls a function on all rows of a call",
    "disguised": "its prediction for a row is [",
    "custom": "it is a custom Python model, whose prediction of a row may depend on other rows",
}


def deployed(program: Program, name: str, **options: Any) -> dict[str, Any]:
    """What is said of a model's requests once it is ready."""
    answer = program.post(f"/deploy/{name}/1?wait=120", json=options)
    assert answer.status_code == 200, answer.text
    merging: dict[str, Any] = program.get(f"/model/{name}-1").json()["serving"]["merging"]
    return merging


def events(program: Program, name: str) -> list[str]:
    return [one["reason"] for one in program.get(f"/model/{name}-1/events").json()]


@pytest.mark.parametrize("name", ["pipeline", "without-example"])
def test_scikit_learn_is_merged(program: Program, name: str) -> None:
    merging = deployed(program, name)
    assert merging["max_rows"] == AUTO_MAX_ROWS
    assert merging["reason"].startswith("scikit-learn's own classes apply to each row")
    assert merging["reason"].endswith(COMPARED)
    assert not any("not merged" in reason for reason in events(program, name))
    assert program.get(f"/model/{name}-1").json()["options"]["batch_max_rows"] == "auto"


async def test_merged_answers_are_those_of_each_request(program: Program) -> None:
    deployed(program, "pipeline")
    bodies = [
        {"dataframe_split": {"columns": COLUMNS, "data": [[n / 7, n / 5 - 3, -n / 3]]}}
        for n in range(60)
    ]
    alone = [program.post("/pipeline-1", json=body).json() for body in bodies]
    before = program.get("/model/pipeline-1").json()["serving"]["batches"]
    async with httpx.AsyncClient(timeout=60) as client:
        url = f"{program.url}/pipeline-1"
        answers = await asyncio.gather(*[client.post(url, json=body) for body in bodies])
    for answer, own in zip(answers, alone, strict=True):
        assert answer.json()["predictions"] == pytest.approx(own["predictions"], rel=1e-9)
    assert program.get("/model/pipeline-1").json()["serving"]["batches"] > before


@pytest.mark.parametrize("name", APART)
def test_others_are_not_merged_and_serve(program: Program, name: str) -> None:
    merging = deployed(program, name)
    assert merging["max_rows"] == 0
    assert merging["reason"].startswith(APART[name])
    assert f"requests are not merged: {merging['reason']}" in events(program, name)
    body = {"dataframe_split": {"columns": COLUMNS, "data": [[1.0, 2.0, 3.0]]}}
    assert program.post(f"/{name}-1", json=body).status_code == 200
    page = program.get(f"/dashboard/deployments/{name}-1?tab=settings").text
    assert '<th scope="row">requests merged</th><td>no: ' in page


@pytest.mark.parametrize(
    ("library", "method"),
    # A server of MLflow takes seconds, and is asked in the same way whatever it serves.
    [*((library, "forkserver") for library in LIBRARIES), (LIBRARIES[0], "serve")],
)
def test_trees_are_merged(program: Program, library: str, method: str) -> None:
    if not installed(library):
        pytest.skip(f"{library} is not installed")
    merging = deployed(program, library, start_method=method)
    assert merging["max_rows"] == AUTO_MAX_ROWS
    assert merging["reason"].endswith(COMPARED)
    assert program.post(f"/undeploy/{library}-1?wait=60").status_code == 200


def test_nobody_looks_into_a_server_of_mlflow(program: Program) -> None:
    program.post("/undeploy/without-example-1?wait=60")
    merging = deployed(program, "without-example", start_method="serve")
    assert merging == {
        "max_rows": 0,
        "reason": "its MLmodel file does not say of which classes the sklearn model is made, and only a "
        "model server with start_method forkserver can look",
    }
    program.post("/undeploy/without-example-1?wait=60")


def test_zero_turns_merging_off(program: Program) -> None:
    program.post("/undeploy/without-example-1?wait=60")
    merging = deployed(program, "without-example", batch_max_rows=0)
    assert merging == {"max_rows": 0, "reason": "batch_max_rows is 0"}
    conflict = program.post("/deploy/without-example/1", json={"batch_max_rows": "auto"})
    assert conflict.status_code == 409
    assert program.post("/deploy/without-example/1", json={}).status_code == 200
    program.post("/undeploy/without-example-1?wait=60")


def test_a_number_fails_a_deploy_as_ever(program: Program) -> None:
    program.post("/undeploy/disguised-1?wait=60")
    refused = program.post("/deploy/disguised/1?wait=120", json={"batch_max_rows": 64})
    assert refused.status_code == 502
    assert "must not be merged" in json.loads(refused.content)["reason"]


def test_the_next_controller_goes_on_merging(program: Program) -> None:
    before = deployed(program, "pipeline")
    program.kill()
    program.start()
    after = program.get("/model/pipeline-1").json()["serving"]["merging"]
    assert (after, after["max_rows"]) == (before, AUTO_MAX_ROWS)
