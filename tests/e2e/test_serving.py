"""The whole, with real models: what comes out of the proxy is what MLflow itself computes."""

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pandas as pd
import pytest

from model_deployment.client import Client
from tests.support import flavor_samples
from tests.support.audit import assert_clean, read_state
from tests.support.controller_program import Program
from tests.support.waiting import until_sync

JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"

pytestmark = [
    pytest.mark.timeout(300),
    # MLflow in the test's own process, which computes what is expected.
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def program(registry_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A controller started as a user starts it, with all the models deployed."""
    with Program(tmp_path_factory.mktemp("e2e"), registry_template) as running:
        for model, version in flavor_samples.SAMPLES:
            answer = running.post(f"/deploy/{model}/{version}?wait=0")
            assert answer.status_code in (200, 202), answer.text
        for model, version in flavor_samples.SAMPLES:
            answer = running.post(f"/deploy/{model}/{version}?wait=120")
            assert answer.status_code == 200, answer.text
        yield running
        assert_clean(running.data / "state.db", running.instance, running.ports)


def _samples() -> list[Any]:
    return [
        pytest.param(model, version, payload, id=f"{model}-{version}-{number}")
        for (model, version), payloads in flavor_samples.SAMPLES.items()
        for number, payload in enumerate(payloads)
    ]


@pytest.mark.parametrize(("model", "version", "payload"), _samples())
def test_a_proxied_prediction_is_what_pyfunc_computes(
    program: Program, registry_template: str, model: str, version: int, payload: dict[str, Any]
) -> None:
    answer = program.post(f"/{model}-{version}", json=payload)
    assert answer.status_code == 200, answer.text
    # MLflow writes NaN, which is not JSON, and Python reads it all the same.
    predictions = json.loads(answer.text, parse_constant=lambda _: None)["predictions"]
    assert predictions == flavor_samples.expected(registry_template, model, version, payload)


@pytest.mark.parametrize(
    ("model", "version"),
    [
        ("diabetes", 1),
        ("wine classifier", 1),
        ("text.rules", 1),
        ("mixed-types", 1),
        ("numbered", 1),
    ],
)
def test_a_frame_that_the_client_sends_is_what_pyfunc_computes(
    program: Program, registry_template: str, model: str, version: int
) -> None:
    payload: dict[str, Any] = next(
        one
        for one in flavor_samples.SAMPLES[model, version]
        if "columns" in one.get("dataframe_split", {})
    )
    rows = payload["dataframe_split"]
    frame = pd.DataFrame(rows["data"], columns=rows["columns"])
    frame.index = pd.Index([f"row {number}" for number in range(len(frame))])
    with Client(program.url) as client:
        found = client.predict(f"{model}-{version}", frame)
    assert found.answer == flavor_samples.expected(registry_template, model, version, payload)
    assert found.model_version == version
    assert found.to_frame().index.equals(frame.index)


def test_the_invocations_path_is_the_same(program: Program) -> None:
    payload = flavor_samples.SAMPLES["diabetes", 1][0]
    short, long = (
        program.post(f"/diabetes-1{path}", json=payload) for path in ("", "/invocations")
    )
    assert short.content == long.content


def test_csv_goes_through(program: Program) -> None:
    example = program.get("/model/diabetes-1").json()["input_example"]["dataframe_split"]
    rows = [example["columns"], *example["data"]]
    text = "\n".join(",".join(str(cell) for cell in row) for row in rows)
    as_csv = program.post("/diabetes-1", content=text, headers={"Content-Type": "text/csv"})
    as_json = program.post("/diabetes-1", json={"dataframe_split": example})
    assert as_csv.json()["predictions"] == pytest.approx(as_json.json()["predictions"])


def test_the_same_rows_are_captured_alike_from_every_form(program: Program) -> None:
    texts = ["00501", "+49 30 1", "True", 'a "b", c\nd', "1e400", "9007199254740993"]
    frame = pd.DataFrame({"text": texts})
    mixed = pd.DataFrame(
        {
            "weight": [2.0, None],
            "name": ["007", "NA"],
            "active": [True, False],
            "count": [2**53 + 1, -1],
            "at": pd.to_datetime(["2026-01-31T12:00:00.5", "2026-02-01"], format="ISO8601"),
        }
    )
    records = mixed.assign(at=["2026-01-31T12:00:00.500", "2026-02-01"], weight=[2, None])
    names = [
        _asked(program, "text.rules-1", JSON, {"dataframe_records": frame.to_dict("records")}),
        _asked(program, "text.rules-1", CSV, frame.to_csv(index=False)),
        _asked(program, "text.rules-1", PARQUET, frame.to_parquet()),
    ]
    rows = _captured(program, "text.rules-1", names)
    assert [[row["text"] for row in rows[name]] for name in names] == [texts] * 3
    assert len({str([row["prediction"] for row in rows[name]]) for name in names}) == 1

    names = [
        _asked(program, "mixed-types-1", JSON,
               {"dataframe_records": json.loads(records.to_json(orient="records"))}),
        _asked(program, "mixed-types-1", PARQUET, mixed.astype({"at": "datetime64[ns]"}).to_parquet()),
    ]  # fmt: skip
    kept = [
        {"name": "007", "count": 2**53 + 1, "active": True, "at": "2026-01-31T12:00:00.5", "weight": 2.0},
        {"name": "NA", "count": -1, "active": False, "at": "2026-02-01T00:00:00", "weight": None},
    ]  # fmt: skip
    rows = _captured(program, "mixed-types-1", names)
    for name in names:
        assert [{column: row[column] for column in kept[0]} for row in rows[name]] == kept


def _asked(program: Program, key: str, media_type: str, body: Any) -> str:
    """The name of a request that was answered."""
    content = body if isinstance(body, str | bytes) else json.dumps(body)
    answer = program.post(f"/{key}", content=content, headers={"Content-Type": media_type})
    assert answer.status_code == 200, answer.text
    return answer.headers["x-request-id"]


def _captured(program: Program, key: str, names: list[str]) -> dict[str, list[dict[str, Any]]]:
    """The rows of requests, once all of them are in the store."""
    found: dict[str, list[dict[str, Any]]] = {}

    def all_there() -> bool:
        answer = program.get(f"/model/{key}/dataset?source=captured&format=jsonl")
        found.clear()
        for row in map(json.loads, answer.text.splitlines() if answer.status_code == 200 else ()):
            found.setdefault(row["request_id"], []).append(row)
        return set(names) <= found.keys()

    until_sync(all_there, what="the captures in the store")
    return found


@pytest.mark.parametrize(("model", "version"), list(flavor_samples.SAMPLES))
def test_a_model_tells_its_signature_and_a_curl_line_that_works(
    program: Program, model: str, version: int
) -> None:
    shown = program.get(f"/model/{model}-{version}").json()
    assert shown["state"] == "ready"
    if model == "no_signature":
        assert shown["signature"] is None
        assert shown["input_example"] is None
        return
    assert shown["signature"]["inputs"]
    answer = program.run_shell(shown["curl"])
    assert "predictions" in json.loads(answer)


def test_the_example_that_mlflow_saved_passes_with_its_bare_nan(program: Program) -> None:
    (saved,) = (program.data / "models").glob("numbered-1-*/model/serving_input_example.json")
    body = saved.read_bytes()
    assert b"NaN" in body
    answer = program.post("/numbered-1", content=body, headers={"Content-Type": "application/json"})
    assert answer.json()["predictions"] == [-2.75, 14.25, -4.75]
    # As records, whose keys can only be text, a row may lack nothing but have null.
    record = program.post("/numbered-1", json={"0": None, "1": 2})
    assert record.json()["predictions"] == [14.25]
    shown = program.get("/model/numbered-1").json()["signature"]["inputs"]
    assert [(one["name"], one["nullable"]) for one in shown] == [(0, True), (1, True)]


def test_csv_is_checked_cell_by_cell(program: Program) -> None:
    header = "name,count,active,at,weight\n"
    answer = program.post("/diabetes-1", content="age\nNA\n", headers={"Content-Type": "text/csv"})
    assert (answer.status_code, answer.json()["errors"][0]["kind"]) == (422, "missing")
    answer = program.post("/numbered-1", content="0,1\n1,2\n", headers={"Content-Type": "text/csv"})
    assert answer.status_code == 422
    assert "JSON" in answer.json()["detail"]
    answer = program.post(
        "/wine classifier-1", content=header + "a,1\n", headers={"Content-Type": "text/csv"}
    )
    assert (answer.status_code, answer.json()["title"]) == (400, "Malformed CSV")


def test_the_registry_is_listed_with_what_is_deployed(program: Program) -> None:
    listed = {model["name"]: model for model in program.get("/get_model_list").json()}
    assert listed.keys() >= {model for model, _ in flavor_samples.SAMPLES}
    assert listed["diabetes"]["latest_version"] == 2
    assert listed["diabetes"]["aliases"] == {"champion": 2, "challenger": 1}
    assert listed["diabetes"]["deployed_versions"] == [1, 2]
    versions = program.get("/get_model_version_list/diabetes").json()
    assert [version["version"] for version in versions] == [2, 1]
    assert versions[0]["aliases"] == ["champion"]
    assert versions[0]["state"] == "ready"
    assert versions[0]["metrics"]


def test_a_killed_server_process_comes_back(program: Program) -> None:
    before = program.get("/model/diabetes-1").json()
    os.kill(before["pid"], signal.SIGKILL)
    payload = flavor_samples.SAMPLES["diabetes", 1][0]

    def back() -> bool:
        now = program.get("/model/diabetes-1").json()
        return bool(now["state"] == "ready" and now["restarts"] == before["restarts"] + 1)

    until_sync(back, timeout=60, what="diabetes-1 ready again")
    assert program.post("/diabetes-1", json=payload).status_code == 200


def test_models_outlive_a_killed_controller_and_are_adopted(program: Program) -> None:
    before = {row["name"]: row["pid"] for row in program.get("/get_deployed_models").json()}
    ports = {row["name"]: row["port"] for row in program.get("/get_deployed_models").json()}
    program.kill()
    payload = flavor_samples.SAMPLES["diabetes", 2][0]
    direct = httpx.post(
        f"http://127.0.0.1:{ports['diabetes-2']}/invocations", json=payload, timeout=30
    )
    assert direct.status_code == 200
    program.start()
    after = {row["name"]: row["pid"] for row in program.get("/get_deployed_models").json()}
    assert after == before
    assert program.post("/diabetes-2", json=payload).content == direct.content


def test_a_restart_finds_the_artifacts_unchanged_by_serving(program: Program) -> None:
    """MLflow's server writes nothing into the model's folder that would spoil its digest."""
    assert program.post("/undeploy/wine classifier-1").status_code == 200
    manifests = sorted((program.data / "models").glob("wine classifier-1-*/manifest.json"))
    before = [path.stat().st_mtime_ns for path in manifests]
    assert program.post("/deploy/wine classifier/1?wait=60").status_code == 200
    assert [path.stat().st_mtime_ns for path in manifests] == before


def test_undeploy_leaves_nothing(program: Program) -> None:
    assert program.post("/undeploy/no_signature-1").json()["state"] == "stopped"
    stored = read_state(program.data / "state.db")
    row = next(row for row in stored.resting if row.key == "no_signature-1")
    assert (row.state, row.launch_id, row.port) == ("stopped", None, None)
    assert program.post("/no_signature-1", json={"inputs": [[1]]}).status_code == 404
