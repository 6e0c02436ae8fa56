"""What can be asked and told about how a model does: metrics, ground truth, data sets, reports."""

import csv
import gzip
import io
from typing import Any

import pytest

from tests.support.harness import Controller
from tests.support.tools import check_problem
from tests.support.waiting import until_sync

KEY = "many-61"


@pytest.fixture
def asked(controller: Controller, request: pytest.FixtureRequest) -> list[str]:
    """The names of three requests that were answered and have reached the store; two rows each."""
    controller.deploy(KEY)
    names = [
        f"{request.node.name[:60]}-{number}".replace("[", ".").replace("]", "")
        for number in range(3)
    ]
    for number, name in enumerate(names):
        body = {"dataframe_records": [{"x": number}, {"x": number + 10}]}
        answer = controller.call("POST", f"/{KEY}", json=body, headers={"X-Request-Id": name})
        assert answer.json()["predictions"] == [number, number + 10]
    until_sync(
        lambda: set(names) <= {row["request_id"] for row in captured(controller)},
        what="the captures in the store",
    )
    return names


def captured(controller: Controller, **more: Any) -> list[dict[str, str]]:
    answer = controller.call(
        "GET", f"/model/{KEY}/dataset", params={"source": "captured", "format": "csv", **more}
    )
    if answer.status_code == 404:
        return []
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


def feedback(controller: Controller, *items: dict[str, Any]) -> dict[str, Any]:
    answer = controller.call("POST", f"/model/{KEY}/feedback", json={"items": list(items)})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_what_was_answered_can_be_downloaded_with_its_truth(
    controller: Controller, asked: list[str]
) -> None:
    feedback(controller, {"request_id": asked[0], "row": 1, "label": 7.5})
    rows = [row for row in captured(controller) if row["request_id"] == asked[0]]
    assert [(row["x"], row["prediction"], row["label"]) for row in rows] == [
        ("0.0", "0", ""),
        ("10.0", "10", "7.5"),
    ]


def test_truth_may_come_late_twice_and_corrected(controller: Controller, asked: list[str]) -> None:
    one = {"request_id": asked[0], "row": 0, "label": 1.5}
    first = feedback(controller, one, {"request_id": asked[1], "row": 5, "label": 2.5})
    assert (first["matched"], first["unmatched"], first["duplicate"]) == (1, 1, 0)
    again = feedback(controller, one, one)
    assert (again["matched"], again["duplicate"]) == (1, 2)
    feedback(controller, one | {"label": 4.25})
    rows = [row for row in captured(controller) if row["request_id"] == asked[0]]
    assert rows[0]["label"] == "4.25"
    assert 0 < first["coverage"] <= 1


def test_truth_may_come_right_after_its_prediction(controller: Controller) -> None:
    controller.deploy(KEY)
    for number in range(3):
        answer = controller.predict(KEY, number)
        item = {"request_id": answer.headers["x-request-id"], "row": 0, "label": number}
        found = feedback(controller, item)
        assert (found["matched"], found["waiting"], found["unmatched"]) == (1, 0, 0)
        assert found["note"] is None


def test_metrics_that_are_set_are_the_current_ones(
    controller: Controller, asked: list[str]
) -> None:
    answer = controller.call(
        "POST",
        f"/model/{KEY}/set_new_metrics",
        json={"metrics": {"rmse": 2.5}, "n": 40, "window": "last week", "note": "by hand"},
    )
    assert answer.status_code == 201, answer.text
    shown = controller.get(f"/model/{KEY}/metrics")
    assert shown["current"] == {"rmse": 2.5}
    newest = shown["history"][0]
    assert (newest["n"], newest["window"], newest["note"]) == (40, "last week", "by hand")
    [row] = [row for row in shown["comparison"] if row["metric"] == "rmse"]
    assert (row["current"], row["direction"]) == (2.5, "lower")
    total = shown["serving"]["total"]
    assert total["requests"] >= 3
    assert total["p50_ms"] > 0


def test_requests_without_a_prediction_are_counted_by_kind(controller: Controller) -> None:
    controller.deploy(KEY)
    before = controller.get(f"/model/{KEY}/metrics")["serving"]["total"]["errors"]
    controller.call("POST", f"/{KEY}", content=b"{", headers={"Content-Type": "application/json"})
    controller.call("POST", f"/{KEY}", content=b"{}")
    after = controller.get(f"/model/{KEY}/metrics")["serving"]["total"]["errors"]
    for kind in ("malformed", "media_type"):
        assert after[kind] == before.get(kind, 0) + 1


def test_what_was_captured_of_a_request_can_be_forgotten(
    controller: Controller, asked: list[str]
) -> None:
    path = f"/model/{KEY}/captures"
    assert controller.call("DELETE", path, params={"request_id": asked[1]}).json() == {"erased": 1}
    assert controller.call("DELETE", path, params={"request_id": asked[1]}).json() == {"erased": 0}
    left = {row["request_id"] for row in captured(controller)}
    assert asked[1] not in left
    assert asked[2] in left


@pytest.mark.timeout(120)
def test_a_report_says_that_it_cannot_tell(controller: Controller, asked: list[str]) -> None:
    path = f"/model/{KEY}/degradation_report"
    soon = controller.call("GET", path, params={"wait": 0, "format": "json"})
    assert soon.status_code == 202
    where = soon.headers["location"]
    made = until_sync(
        lambda: (answer := controller.call("GET", where)).status_code == 200 and answer.json(),
        timeout=90,
        what="the report",
    )
    assert made["verdict"] in ("insufficient_data", "no_reference")
    listed = controller.get(f"/model/{KEY}/reports")
    assert made["id"] in [one["id"] for one in listed]
    problem = controller.get(path, 404, id=made["id"], format="evidently")
    assert "cannot find a page by Evidently" in problem["detail"]
    problem = controller.get(f"/model/{KEY}/drifted_rows", 404, id=made["id"])
    assert "no column" in problem["detail"]
    own = controller.call("GET", made["page"])
    assert own.status_code == 200
    assert f"<h1>{made['headline']}</h1>" in own.text
    assert "unsafe" not in own.headers["content-security-policy"]
    assert ' style="' not in own.text
    assert controller.call("GET", f"/dashboard/reports/{KEY}/none").status_code == 404
    page = controller.call("GET", path, params={"id": made["id"]})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "sandbox" in page.headers["content-security-policy"]
    assert "<html" in page.text
    plain = controller.call(
        "GET", path, params={"id": made["id"]}, headers={"Accept-Encoding": "identity"}
    )
    assert plain.text == page.text
    with pytest.raises(gzip.BadGzipFile):
        gzip.decompress(plain.content)


def test_versions_stand_side_by_side(controller: Controller) -> None:
    for key in ("many-61", "many-62"):
        controller.deploy(key)
    controller.call("POST", "/model/many-62/set_new_metrics", json={"metrics": {"mae": 1}})
    shown = controller.get("/compare/many?versions=61,62")
    assert shown["versions"] == [61, 62]
    assert shown["metrics"]["mae"]["62"]["current"] == 1
    assert shown["metrics"]["mae"]["61"]["current"] is None
    assert shown["serving"].keys() == {"61", "62"}
    assert shown["better"]["mae"] == {"direction": "lower", "baseline": [], "current": []}
    never = controller.get("/compare/many?versions=62,70")
    (column,) = never["sections"]["inputs"]
    assert column["values"] == {"62": "double", "70": "double"}
    assert never["registered"]["70"]["flavors"] == {"python_function": ""}
    controller.get("/compare/many?versions=62,999", 404)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/model/many-69/metrics", None, 404),
        ("GET", f"/model/{KEY}/metrics?since=yesterday", None, 422),
        ("GET", f"/model/{KEY}/degradation_report?id=none", None, 404),
        ("GET", f"/model/{KEY}/degradation_report?format=pdf", None, 422),
        ("GET", f"/model/{KEY}/dataset?source=training", None, 404),
        ("GET", "/compare/many?versions=61,61", None, 422),
        ("GET", "/compare/many?versions=61,x", None, 422),
        ("POST", f"/model/{KEY}/set_new_metrics", {"metrics": {}}, 422),
        ("POST", f"/model/{KEY}/set_new_metrics", {"metrics": {"rmse": "low"}}, 422),
        ("POST", f"/model/{KEY}/feedback", {"items": []}, 422),
        ("POST", f"/model/{KEY}/feedback", {"items": [{"request_id": "a", "label": None}]}, 422),
        ("DELETE", f"/model/{KEY}/captures", None, 422),
    ],
)
def test_monitoring_errors_say_why(
    controller: Controller, method: str, path: str, body: Any, status: int
) -> None:
    controller.deploy(KEY)
    problem = check_problem(controller.call(method, path, json=body))
    assert problem["status"] == status
