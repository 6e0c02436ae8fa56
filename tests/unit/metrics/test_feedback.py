"""Late ground truth: what it is joined with, and what is computed from it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from model_deployment.core.names import ModelKey
from model_deployment.documents.base import Collection, Documents, Query
from model_deployment.documents.embedded import EmbeddedDocuments
from model_deployment.metrics.feedback import Feedback, Label

KEY = ModelKey("iris", 1)
START = datetime(2026, 11, 1, tzinfo=UTC)


class FeedbackDesk:
    """A store with captures, and feedback on it."""

    def __init__(self, documents: Documents) -> None:
        self.documents = documents
        self._captured = 0
        #: What comes from the spool while labels wait for it; None if it does not come in time.
        self.on_its_way: list[tuple[str, Any]] | None = []

    async def caught_up(self, patience: float) -> bool:
        arriving, self.on_its_way = self.on_its_way, None if self.on_its_way is None else []
        for request_id, prediction in arriving or []:
            await self.captured(request_id, prediction)
        return arriving is not None

    async def opened(self) -> Documents:
        return self.documents

    @property
    def feedback(self) -> Feedback:
        return Feedback(self)

    async def captured(self, request_id: str, *predictions: Any, key: ModelKey = KEY) -> None:
        self._captured += 1
        document = {
            "_id": f"c{self._captured}", "model": key.model, "version": key.version,
            "ts": START + timedelta(seconds=self._captured), "request_id": request_id,
            "predictions": list(predictions), "rows": len(predictions), "columns": [], "data": [],
        }  # fmt: skip
        await self.documents.insert(Collection.CAPTURES, [document])

    async def told(self, *labels: tuple[str, int, Any]) -> dict[str, Any]:
        return await self.feedback.add(KEY, [Label(*label) for label in labels])

    async def kept(self, collection: Collection) -> list[dict[str, Any]]:
        return [one async for one in self.documents.find(Query(collection))]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[FeedbackDesk]:
    documents = EmbeddedDocuments(tmp_path / "documents.db")
    await documents.open()
    yield FeedbackDesk(documents)
    await documents.close()


async def test_labels_meet_their_rows(desk: FeedbackDesk) -> None:
    await desk.captured("a", 1.5, 2.5)
    await desk.captured("b", 3.5)
    found = await desk.told(("a", 0, 1.0), ("a", 1, 2.5), ("a", 2, 9.0), ("zz", 0, 1.0))
    assert (found["matched"], found["unmatched"], found["ambiguous"]) == (2, 2, 0)
    assert found["labelled_rows"] == 2
    assert found["metrics"]["mae"] == 0.25
    assert found["coverage"] == 0.5
    [entry] = await desk.kept(Collection.METRICS)
    assert (entry["n"], entry["source"]) == (2, "feedback")


async def test_the_same_again_changes_nothing(desk: FeedbackDesk) -> None:
    await desk.captured("a", 1.5)
    await desk.told(("a", 0, 1.25))
    [before] = await desk.kept(Collection.LABELS)
    entries = await desk.kept(Collection.METRICS)
    again = await desk.told(("a", 0, 1.25), ("a", 0, 1.25))
    assert again["duplicate"] == 2
    assert await desk.kept(Collection.LABELS) == [before]
    assert await desk.kept(Collection.METRICS) == entries


async def test_a_corrected_label_takes_the_place_of_the_old_one(desk: FeedbackDesk) -> None:
    await desk.captured("a", 1.5)
    await desk.told(("a", 0, 1.25))
    found = await desk.told(("a", 0, 1.75))
    assert found["duplicate"] == 0
    assert [one["label"] for one in await desk.kept(Collection.LABELS)] == [1.75]
    assert found["metrics"]["mae"] == 0.25


async def test_one_and_true_are_not_the_same_label(desk: FeedbackDesk) -> None:
    await desk.captured("a", 1)
    await desk.told(("a", 0, 1))
    await desk.told(("a", 0, True))
    assert [one["label"] for one in await desk.kept(Collection.LABELS)] == [True]


async def test_request_id_of_two_requests_is_ambiguous(desk: FeedbackDesk) -> None:
    await desk.captured("a", 1.5)
    await desk.captured("a", 9.5)
    found = await desk.told(("a", 0, 1.5))
    assert (found["matched"], found["ambiguous"]) == (0, 1)
    assert found["metrics"] == {}


async def test_a_label_may_come_before_its_capture(desk: FeedbackDesk) -> None:
    first = await desk.told(("a", 0, 2.0))
    assert (first["unmatched"], first["coverage"]) == (1, None)
    await desk.captured("a", 1.5)
    assert (await desk.told(("a", 0, 2.0)))["metrics"]["rmse"] == 0.5


async def test_labels_of_another_version_are_another_s(desk: FeedbackDesk) -> None:
    await desk.captured("a", 1.5, key=ModelKey("iris", 2))
    assert (await desk.told(("a", 0, 1.5)))["matched"] == 0


@pytest.mark.parametrize("answer", [[0.5, 0.9], {"low": 1.0, "high": 2.0}])
async def test_predictions_of_several_values_are_not_measured_and_noted(
    desk: FeedbackDesk, answer: Any
) -> None:
    await desk.captured("a", answer)
    found = await desk.told(("a", 0, 1))
    assert found["metrics"] == {}
    assert "no metrics" in found["note"]


@pytest.mark.parametrize("answer", [[1.5], {"price": 1.5}])
async def test_the_only_value_of_a_row_is_measured(desk: FeedbackDesk, answer: Any) -> None:
    await desk.captured("a", answer)
    found = await desk.told(("a", 0, 1))
    assert (found["metrics"]["mae"], found["note"]) == (0.5, None)


async def test_labels_wait_for_captures_that_are_on_their_way(desk: FeedbackDesk) -> None:
    await desk.captured("a", 1.5)
    desk.on_its_way = [("b", 2.5), ("c", 3.5)]
    found = await desk.told(("a", 0, 1.5), ("b", 0, 2.5), ("c", 0, 3.0), ("d", 0, 1.0))
    assert (found["matched"], found["waiting"], found["unmatched"]) == (3, 0, 1)
    assert found["labelled_rows"] == 3
    assert "1 of the labels: this deployment has no captured request" in found["note"]


async def test_labels_of_late_captures_are_not_called_unmatched(desk: FeedbackDesk) -> None:
    desk.on_its_way = None
    found = await desk.told(("a", 0, 1.0), ("b", 1, 2.0))
    assert (found["matched"], found["waiting"], found["unmatched"]) == (0, 2, 0)
    assert "2 of the labels: the request may still be on its way" in found["note"]
    await desk.captured("a", 1.5)
    again = await desk.told(("a", 0, 1.0))
    assert (again["matched"], again["duplicate"], again["note"]) == (1, 1, None)
    assert again["metrics"]["mae"] == 0.5


async def test_labels_without_a_row_are_counted_by_reason(desk: FeedbackDesk) -> None:
    await desk.captured("a", 1.5)
    await desk.captured("twice", 1.5)
    await desk.captured("twice", 1.5)
    found = await desk.told(("a", 1, 9.0), ("zz", 0, 1.0), ("zz", 1, 1.0), ("twice", 0, 1.0))
    assert (found["unmatched"], found["ambiguous"]) == (3, 1)
    told = found["note"].split("; ")
    assert told[0].startswith("2 of the labels: this deployment has no captured request")
    assert told[-2:] == [
        "1 of the labels: the request has no such row (rows count from 0)",
        "1 of the labels: several requests have this request_id, so the labels are not used",
    ]


async def test_the_truth_of_a_series_is_the_next_value(desk: FeedbackDesk) -> None:
    async def signature(key: ModelKey) -> dict[str, Any]:
        return {"inputs": [], "params": [{"name": "prediction_step"}]}

    await desk.captured("a", [1.5, 7.0, 9.0])
    await desk.captured("b", [2.5])
    await desk.told(("a", 0, 1.0))
    assert (await desk.told(("b", 0, 2.5)))["metrics"] == {}  # two and three outputs: of what?
    found = await Feedback(desk, signature).add(KEY, [Label("b", 0, 2.0)])
    assert found["metrics"]["mae"] == 0.5
