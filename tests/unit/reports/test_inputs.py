"""What a report is made of: which windows count before it, what it is compared with, and how much of it."""

import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from model_deployment.core.errors import RegistryUnavailable
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from model_deployment.degradation.job import parse
from model_deployment.degradation.metric_verdict import RecordedMetrics
from model_deployment.documents.base import CapturedOn, Collection, Documents
from model_deployment.documents.embedded import EmbeddedDocuments
from model_deployment.metrics.service import Monitoring
from model_deployment.reports import inputs as module
from model_deployment.reports.inputs import FROZEN, InputWriter, Reference, ReportWindow

KEY = ModelKey("iris", 1)
NOW = datetime(2026, 11, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
async def documents(tmp_path: Path) -> AsyncIterator[Documents]:
    store = EmbeddedDocuments(tmp_path / "documents.db")
    await store.open()
    yield store
    await store.close()


def capture(number: int, ts: datetime, rows: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "_id": f"c{number:06}", "model": "iris", "version": 1, "ts": ts, "request_id": f"r{number}",
        "columns": ["x"], "data": [[number]] * rows, "predictions": [number] * rows, "rows": rows,
    } | more  # fmt: skip


def report(
    until: datetime, worse: Mapping[str, int], made: datetime | None = None
) -> dict[str, Any]:
    made = made or until
    return {
        "_id": f"report-{made.isoformat()}", "model": "iris", "version": 1, "ts": made,
        "since": (until - DAY).isoformat(), "until": until.isoformat(), "worse": dict(worse),
    }  # fmt: skip


class FakeMonitoring:
    """What a report reads from monitoring."""

    def __init__(self, baseline: Any = None, as_of: datetime | None = None) -> None:
        self._baseline, self._as_of = baseline, as_of

    async def baseline(self, key: ModelKey) -> tuple[dict[str, float], str | None]:
        if isinstance(self._baseline, RegistryUnavailable):
            return {}, self._baseline.detail
        return self._baseline or {}, None

    def baseline_as_of(self, key: ModelKey) -> datetime | None:
        return self._as_of

    async def serving(self, *window: Any) -> dict[str, Any]:
        errors = {"refused": 2, "malformed": 1, "too_busy": 3}
        return {"total": {"violations": [], "requests": 7, "errors": errors, "let_through": 1}}

    async def history(self, *which: Any) -> list[dict[str, Any]]:
        return []

    async def first_set(self, key: ModelKey) -> dict[str, Any]:
        return {"ts": NOW.isoformat(), "metrics": {"rmse": 3.0}, "n": 40, "source": "set"}


def gatherer(
    training: Any = None,
    baseline: Any = None,
    options: Options | None = None,
    as_of: datetime | None = None,
) -> InputWriter:
    async def find_training(key: ModelKey) -> Any:
        return training

    async def signature(key: ModelKey) -> None:
        return None

    async def chosen(key: ModelKey) -> Options | None:
        return options

    return InputWriter(
        cast(Monitoring, FakeMonitoring(baseline, as_of)),
        training=find_training,
        signature=signature,
        options=chosen,
    )


async def filled(
    documents: Documents,
    folder: Path,
    since: datetime,
    until: datetime,
    source: CapturedOn = CapturedOn.SERVERS,
    **more: Any,
) -> tuple[Reference, dict[str, Any]]:
    laid = await gatherer(**more).write(documents, ReportWindow(KEY, since, until, source), folder)
    return laid, json.loads((folder / "job.json").read_bytes())


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


async def test_a_report_knows_which_columns_are_not_captured(
    documents: Documents, tmp_path: Path
) -> None:
    options = Options(capture_exclude=("ssn",), capture_hash=("zip", "name"))
    _, job = await filled(documents, tmp_path, NOW, NOW + DAY, options=options)
    wanted = parse(job)
    assert (set(wanted.excluded), set(wanted.hashed)) == ({"ssn"}, {"zip", "name"})
    _, job = await filled(documents, tmp_path, NOW, NOW + DAY)
    assert (set(parse(job).excluded), set(parse(job).hashed)) == (set(), set())


async def test_a_report_of_the_window_right_before_counts(
    documents: Documents, tmp_path: Path
) -> None:
    await documents.insert(Collection.REPORTS, [report(NOW, {"rmse": 2})])
    laid, job = await filled(documents, tmp_path, NOW, NOW + DAY)
    assert job["worse_before"] == {"rmse": 2} == laid.worse_before


@pytest.mark.parametrize(
    "until",
    [NOW + timedelta(hours=1), NOW + DAY, NOW - 2 * DAY],
    ids=["overlaps", "same", "long ago"],
)
async def test_others_do_not(documents: Documents, tmp_path: Path, until: datetime) -> None:
    await documents.insert(Collection.REPORTS, [report(until, {"rmse": 2})])
    assert (await filled(documents, tmp_path, NOW, NOW + DAY))[1]["worse_before"] == {}


async def test_an_overlapping_report_does_not_hide_the_one_before(
    documents: Documents, tmp_path: Path
) -> None:
    reports = [report(NOW, {"mae": 1}), report(NOW + DAY / 2, {"rmse": 5})]
    await documents.insert(Collection.REPORTS, reports)
    assert (await filled(documents, tmp_path, NOW, NOW + DAY))[1]["worse_before"] == {"mae": 1}


async def test_reference_without_training_data_is_the_first_captured_rows(
    documents: Documents,
    tmp_path: Path,
) -> None:
    few = [capture(n, NOW + n * timedelta(seconds=1), rows=100) for n in range(9)]
    await documents.insert(Collection.CAPTURES, few)
    laid, job = await filled(documents, tmp_path, NOW, NOW + DAY)
    assert (laid.source, job["reference_source"]) == (None, None)
    assert not (tmp_path / "reference.jsonl").exists()
    assert len(lines(tmp_path / "captures.jsonl")) == 9

    more = [capture(n, NOW + n * timedelta(seconds=1), rows=100) for n in range(9, 15)]
    await documents.insert(Collection.CAPTURES, more)
    laid, _ = await filled(documents, tmp_path, NOW, NOW + DAY)
    assert laid.source == "captured"
    frozen = lines(tmp_path / "reference.jsonl")
    assert [one["request_id"] for one in frozen] == [f"r{n}" for n in range(FROZEN // 100)]
    # What is compared comes after what is frozen.
    assert [one["request_id"] for one in lines(tmp_path / "captures.jsonl")] == [
        f"r{n}" for n in range(10, 15)
    ]


async def test_training_data_comes_first_and_borrows_predictions_from_before(
    documents: Documents,
    tmp_path: Path,
) -> None:
    old = [capture(n, NOW - 2 * DAY + n * timedelta(seconds=1), rows=100) for n in range(10)]
    await documents.insert(Collection.CAPTURES, [*old, capture(99, NOW + DAY / 2)])
    data = tmp_path / "data.csv"
    data.write_text("x,y\n1,2\n")
    training = SimpleNamespace(path=data, origin="the run", target="y")
    (folder := tmp_path / "report").mkdir()
    laid, job = await filled(documents, folder, NOW, NOW + DAY, training=training)
    assert (laid.source, laid.target, job["target"]) == ("training", "y", "y")
    assert (folder / "training.csv").read_text() == data.read_text()
    assert len(lines(folder / "predictions.jsonl")) == 10
    assert [one["request_id"] for one in lines(folder / "captures.jsonl")] == ["r99"]


async def test_baseline_unreadable_is_an_error_in_the_answer(
    documents: Documents, tmp_path: Path
) -> None:
    error = RegistryUnavailable("cannot look up iris-1: no answer")
    _, job = await filled(documents, tmp_path, NOW, NOW + DAY, baseline=error)
    assert job["baseline_error"] == error.detail
    assert job["first_set"]["metrics"] == {"rmse": 3.0}
    assert parse(job).first_set == RecordedMetrics(NOW, {"rmse": 3.0}, 40)


async def test_refused_requests_are_counted_apart(documents: Documents, tmp_path: Path) -> None:
    _, job = await filled(documents, tmp_path, NOW, NOW + DAY)
    found = parse(job)
    assert (found.refused, found.let_through, found.requests) == (
        {"refused": 2, "malformed": 1},
        1,
        7,
    )


async def test_baseline_readable_has_no_error(documents: Documents, tmp_path: Path) -> None:
    _, job = await filled(documents, tmp_path, NOW, NOW + DAY)
    assert job["baseline_error"] is None
    assert parse(job).baseline_error is None


async def test_report_reads_only_the_newest_captures(
    documents: Documents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [capture(n, NOW + n * timedelta(seconds=1), rows=10) for n in range(20)]
    await documents.insert(Collection.CAPTURES, many)
    monkeypatch.setattr(module, "_ROWS", 50)
    await filled(documents, tmp_path, NOW, NOW + DAY)
    laid_down = [one["request_id"] for one in lines(tmp_path / "captures.jsonl")]
    assert laid_down == [f"r{n}" for n in range(15, 20)]


async def test_captures_of_any_values_can_be_encoded(documents: Documents, tmp_path: Path) -> None:
    odd = capture(1, NOW, data=[[10**30]], predictions=["\ud800"])
    await documents.insert(Collection.CAPTURES, [odd])
    label = {"_id": "l", "model": "iris", "version": 1, "ts": NOW, "request_id": "r1", "row": 0}
    await documents.insert(Collection.LABELS, [label | {"label": 10**400}])
    await filled(documents, tmp_path, NOW, NOW + DAY)
    [kept] = lines(tmp_path / "captures.jsonl")
    assert (kept["data"], kept["predictions"]) == ([[10**30]], ["\ud800"])
    assert lines(tmp_path / "labels.jsonl")[0]["label"] == 10**400


async def test_reference_names_the_time_of_a_stored_baseline(
    documents: Documents, tmp_path: Path
) -> None:
    reference, job = await filled(
        documents, tmp_path, NOW, NOW + DAY, baseline={"rmse": 1.0}, as_of=NOW
    )
    assert reference.description.endswith(f"; the baseline as of {NOW:%Y-%m-%d %H:%M}")
    assert job["baseline"] == {"rmse": 1.0}


async def test_a_report_about_devices_reads_what_devices_sent(
    documents: Documents, tmp_path: Path
) -> None:
    on_device = capture(2, NOW, device="camera-7")
    await documents.insert(Collection.CAPTURES, [capture(1, NOW)])
    await documents.insert(Collection.DEVICE_CAPTURES, [on_device])
    labels = [
        {
            "_id": f"l{n}", "model": "iris", "version": 1, "ts": NOW, "request_id": f"r{n}", "row": 0,
            "label": n,
        }
        for n in (1, 2)
    ]  # fmt: skip
    await documents.insert(Collection.LABELS, labels)
    minutes = [
        {
            "_id": f"m{n}", "model": "iris", "version": 1, "ts": NOW + n * timedelta(minutes=1),
            "requests": 5, "rows": 6, "errors": {"refused": 1}, "latencies": [[3, 4]], "violations": [],
        }
        for n in range(3)
    ]  # fmt: skip
    await documents.insert(Collection.DEVICE_TRAFFIC, minutes)
    hidden = Options(capture_exclude=("ssn",))
    devices = CapturedOn.DEVICES
    _, job = await filled(documents, tmp_path, NOW, NOW + DAY, devices, options=hidden)
    assert [one["request_id"] for one in lines(tmp_path / "captures.jsonl")] == ["r2"]
    assert [one["label"] for one in lines(tmp_path / "labels.jsonl")] == [2]
    assert (job["source"], job["requests"], job["refused"]) == ("devices", 15, {"refused": 3})
    assert (job["excluded"], parse(job).source) == ([], "devices")
    _, job = await filled(documents, tmp_path, NOW, NOW + DAY)
    assert [one["request_id"] for one in lines(tmp_path / "captures.jsonl")] == ["r1"]
    assert (job["source"], job["requests"]) == ("servers", 7)


async def test_devices_and_servers_have_references_of_their_own(
    documents: Documents, tmp_path: Path
) -> None:
    old = NOW - 3 * DAY
    for collection, more in (
        (Collection.CAPTURES, {}),
        (Collection.DEVICE_CAPTURES, {"device": "camera-7"}),
    ):
        named = f"{collection}-"
        some = [
            capture(n, old, rows=500, **more) | {"_id": f"{named}{n}", "request_id": f"{named}{n}"}
            for n in range(3)
        ]
        await documents.insert(collection, some)
    for source, name in ((CapturedOn.SERVERS, "captures"), (CapturedOn.DEVICES, "device_captures")):
        for _ in range(2):  # made, then read
            reference, _ = await filled(documents, tmp_path, NOW, NOW + DAY, source)
            assert reference.source == "captured"
            frozen = [one["request_id"] for one in lines(tmp_path / "reference.jsonl")]
            assert frozen == [f"{name}-0", f"{name}-1"]


async def test_reports_about_devices_do_not_count_for_servers_nor_the_other_way_round(
    documents: Documents, tmp_path: Path
) -> None:
    of_devices = report(NOW, {"rmse": 2}) | {"source": "devices"}
    await documents.insert(Collection.REPORTS, [of_devices])
    assert (await filled(documents, tmp_path, NOW, NOW + DAY))[1]["worse_before"] == {}
    _, job = await filled(documents, tmp_path, NOW, NOW + DAY, CapturedOn.DEVICES)
    assert job["worse_before"] == {"rmse": 2}
