"""A report the whole way: documents in a store, the child process, its files, the page, and who is told."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from model_deployment.core.errors import RegistryUnavailable
from model_deployment.core.names import ModelKey
from model_deployment.documents.base import CapturedOn, Collection, Query
from model_deployment.documents.embedded import EmbeddedDocuments
from model_deployment.documents.opening import OpenedStore
from model_deployment.documents.owner_view import OwnerView
from model_deployment.recording.spool import Spool
from model_deployment.recording.upkeep import Upkeep
from model_deployment.reports.inputs import InputWriter
from model_deployment.reports.service import Reporter
from tests.support.counting import LocalCounts
from tests.support.report_desk import KEY, LIVE, RUN, SAID, ReportDesk


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[ReportDesk]:
    async def since(key: ModelKey) -> None:
        return None

    spool = Spool(tmp_path / "spool", max_bytes=10**6)
    spool.open()
    documents, local = EmbeddedDocuments(tmp_path / "documents.db"), LocalCounts()
    store = OpenedStore(documents)
    await store.opened()
    upkeep = Upkeep(spool.root, local.reported, store, local.stored)
    yield ReportDesk(upkeep, OwnerView(store, since, upkeep.caught_up), local, documents, tmp_path)
    await documents.close()
    spool.close()


def codes(report: Mapping[str, Any]) -> list[str]:
    return [one["code"] for one in report["reasons"]]


async def test_correct_labels_keep_a_report_ok(desk: ReportDesk) -> None:
    """With the child as the program that it is."""
    desk.logged()
    ids = await desk.served()
    await desk.labelled(ids[:60], SAID[LIVE][:60] + 1.5)
    report, page = await desk.report()
    # The run has no metrics, which is no error.
    assert (report["verdict"], report["rows"]["labelled"]) == ("ok", 60)
    assert "baseline_unreadable" not in codes(report)
    assert "could not be read" not in page
    assert not desk.notes
    desk.baseline = RUN
    report, page = await desk.report()
    assert report["headline"] == "Unchanged: as good as its baseline on 60 labelled rows"
    assert f"<h1>{report['headline']}</h1>" in page
    assert codes(report)[0] == "as_good"


@pytest.mark.usefixtures("forked")
async def test_report_without_a_reference_still_judges_labels(desk: ReportDesk) -> None:
    ids = await desk.served()
    await desk.labelled(ids[:60], SAID[LIVE][:60] + 1.5)
    report, page = await desk.report()
    assert report["verdict"] == "no_reference"
    assert ">No reference<" in page
    desk.baseline = RUN
    report, _ = await desk.report()
    assert report["verdict"] == "ok"
    assert {row["verdict"] for row in (await desk.compared()).values()} == {"ok", "no_reference"}


@pytest.mark.usefixtures("forked")
@pytest.mark.parametrize("why", ["MLflow does not answer", ""])
async def test_baseline_unreadable_is_an_error_in_the_answer(desk: ReportDesk, why: str) -> None:
    desk.logged()
    desk.baseline = RegistryUnavailable(why)
    ids = await desk.served()
    await desk.labelled(ids[:60], SAID[LIVE][:60] + 1.5)
    report, page = await desk.report()
    assert report["verdict"] == "insufficient_data"
    assert "The metrics of the MLflow run could not be read" in page
    assert "“”" not in page


@pytest.mark.usefixtures("forked")
async def test_wrong_labels_degrade_in_the_report_and_in_the_api(desk: ReportDesk) -> None:
    desk.logged()
    desk.baseline = RUN
    ids = await desk.served()
    far = np.where(np.arange(222) % 2, 190.0, -210.0)
    told = await desk.labelled(ids, SAID[LIVE] + far)
    report, page = await desk.report()
    assert report["headline"] == "Degraded: worse than its baseline on 222 labelled rows"
    there = {one["name"]: one for one in report["metrics"]}
    here = await desk.compared()
    for name, value in told["metrics"].items():
        assert here[name]["verdict"] == there[name]["verdict"]
        assert value == pytest.approx(there[name]["current"])
    assert {here[name]["verdict"] for name in ("rmse", "mae")} == {"degraded"}
    assert ">Degraded<" in page
    [note] = desk.notes
    assert "degraded (the first report). Degraded: worse than its baseline" in note
    [call] = desk.calls
    assert (call["verdict"], call["previous"], call["headline"]) == (
        "degraded",
        None,
        report["headline"],
    )


@pytest.mark.usefixtures("forked")
async def test_metrics_that_are_set_are_judged_as_the_report_does(desk: ReportDesk) -> None:
    desk.baseline = {"accuracy": 0.9}
    for accuracy, n, verdict, of_report in (
        (0.8, 100, "ok", "ok"),
        (0.6, None, "insufficient_data", "insufficient_data"),
        (0.6, 100, "worse", "insufficient_data"),
        (0.55, 100, "degraded", "degraded"),
        (0.9, 100, "ok", "ok"),
    ):
        told = await desk.monitoring.set_metrics(
            KEY, {"accuracy": accuracy}, window=None, n=n, note=None
        )
        report, _ = await desk.report()
        [answered], [there] = told["comparison"], report["metrics"]
        assert told["baseline_error"] is None
        assert answered == (await desk.compared())["accuracy"]
        assert answered["verdict"] == there["verdict"] == verdict
        assert (answered["change"], report["verdict"]) == (there["change"], of_report)
        assert answered["degraded"] is (None if n is None else there["degraded"])


@pytest.mark.usefixtures("forked")
async def test_a_few_refused_requests_are_no_drift(desk: ReportDesk) -> None:
    desk.logged()
    await desk.served()
    desk.refused(3)
    report, page = await desk.report()
    assert (report["verdict"], report["share_drifted"]) == ("ok", 0)
    assert (report["requests"], report["refused"]["count"], report["refused"]["many"]) == (
        225,
        3,
        False,
    )
    assert "<h2>Callers send wrong requests</h2>" in page
    assert "3 of 225 requests (1.3 %) were refused" in page
    assert page.index("What matters") < page.index("Callers send wrong")
    assert not desk.notes


@pytest.mark.usefixtures("forked")
async def test_refused_requests_in_numbers_give_one_alarm_and_no_drift(desk: ReportDesk) -> None:
    desk.logged()
    await desk.served()
    desk.refused(60)
    desk.local.end()
    await desk.upkeep.flush()
    report, page = await desk.report()
    assert report["verdict"] == "ok"
    assert report["refused"] == {
        "count": 60,
        "share": pytest.approx(60 / 282),
        "by_kind": {"refused": 60},
        "many": True,
    }
    assert page.index("Callers send wrong") < page.index("What matters")
    [note] = desk.notes
    assert ": ok (the first report). Unchanged; callers send wrong requests." in note
    assert "60 of 282 requests (21 %) were refused" in note
    assert desk.calls[0]["reason"].startswith("60 of 282")
    await desk.report()
    assert len(desk.notes) == 1


@pytest.mark.usefixtures("forked")
async def test_documents_of_an_earlier_version_are_read(desk: ReportDesk) -> None:
    """Minutes without what was let through, metrics without halves, reports without a headline."""
    desk.logged()
    desk.baseline = RUN
    await desk.served()
    own: dict[str, Any] = {
        "model": KEY.model,
        "version": KEY.version,
        "ts": datetime.now(UTC) - timedelta(minutes=9),
    }
    minute = {"requests": 40, "rows": 0, "errors": {"refused": 40}, "latencies": [],
              "violations": [["bmi", "null", 400]]}  # fmt: skip
    await desk.documents.insert(Collection.TRAFFIC, [{"_id": "old-minute", **own, **minute}])
    metrics = {
        "metrics": {"rmse": 400.0},
        "n": 300,
        "window": None,
        "note": None,
        "source": "feedback",
    }
    await desk.documents.insert(Collection.METRICS, [{"_id": "old-metrics", **own, **metrics}])
    when = {name: own["ts"].isoformat() for name in ("since", "until")}
    made = {"verdict": "drift", **when, "reference": "none", "rows": {"current": 3}, "worse": {},
            "report": {"verdict": "drift"}}  # fmt: skip
    await desk.documents.insert(Collection.REPORTS, [{"_id": "old-report", **own, **made}])
    assert (await desk.compared())["rmse"]["verdict"] == "worse"
    report, page = await desk.report()
    assert (report["verdict"], report["refused"]["count"], report["let_through"]) == ("ok", 40, 0)
    assert (
        "400" not in page.partition("Callers send wrong requests</h2>")[2].partition("<details>")[0]
    )
    reporter = Reporter(
        desk.store, cast(InputWriter, None), work=desk.work / "none", on_report=cast(Any, None)
    )
    listed = {one["_id"]: one["headline"] for one in await reporter.list(KEY, 9)}
    assert listed["old-report"] == "Data drift"
    [note] = desk.notes  # refused by more than a tenth, which the old report does not tell
    assert "(was drift)" in note


@pytest.mark.usefixtures("forked")
async def test_predictions_of_devices_have_reports_of_their_own(desk: ReportDesk) -> None:
    desk.logged()
    ids = await desk.served()
    moved = [
        {
            **capture, "_id": f"i/1/s/{place}/0", "request_id": f"d{place}", "device": "camera-7",
            "project": "hall", "release": 1, "typed": False,
            "data": [[value + 900 for value in row] for row in capture["data"]],
        }
        for place, capture in enumerate(
            [one async for one in desk.documents.find(Query.of(Collection.CAPTURES, KEY))]
        )
    ]  # fmt: skip
    await desk.documents.insert(Collection.DEVICE_CAPTURES, moved)
    await desk.labelled(ids[:60], SAID[LIVE][:60] + 1.5)
    servers, page = await desk.report()
    assert servers["rows"]["labelled"] == 60
    assert "predictions of devices" not in page
    devices, page = await desk.report(CapturedOn.DEVICES)
    assert (devices["source"], devices["verdict"]) == ("devices", "drift")
    assert (devices["rows"]["current"], devices["rows"]["labelled"]) == (len(moved), 0)
    assert "predictions of devices" in page
    assert not desk.notes  # no alarm: it was asked for
