"""A name that stands for another model now begins with it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from model_deployment.core.names import ModelKey
from model_deployment.documents.base import Collection, Documents, Query
from model_deployment.documents.embedded import EmbeddedDocuments
from model_deployment.documents.opening import OpenedStore
from model_deployment.documents.owner_view import OwnerView
from model_deployment.metrics.feedback import Feedback, Label
from model_deployment.recording.windows import TrafficWindows

KEY, OTHER = ModelKey("m", 1), ModelKey("m", 2)
RENEWED = datetime(2026, 5, 1, 12, 30, 20, 500_900, tzinfo=UTC)
MOMENT = timedelta(milliseconds=1)


class Kept:
    """A store, and what the present model sees of it."""

    def __init__(self, documents: Documents) -> None:
        self.documents = documents
        self.present = OwnerView(OpenedStore(documents), self._since, self.caught_up)

    async def _since(self, key: ModelKey) -> datetime | None:
        return RENEWED if key == KEY else None

    async def opened(self) -> Documents:
        return self.documents

    async def caught_up(self, patience: float) -> bool:
        return True

    async def put(
        self, collection: Collection, id: str, ts: datetime, key: ModelKey = KEY, **more: Any
    ) -> None:
        document = {"_id": id, "model": key.model, "version": key.version, "ts": ts, **more}
        assert (await self.documents.insert(collection, [document])).inserted == 1

    async def ids(self, query: Query) -> list[str]:
        return [found["_id"] async for found in (await self.present.opened()).find(query)]


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    store = EmbeddedDocuments(tmp_path / "documents.db")
    await store.open()
    yield Kept(store)
    await store.close()


BY_MINUTE = [Collection.TRAFFIC, Collection.DEVICE_TRAFFIC]


@pytest.mark.parametrize("collection", [one for one in Collection if one not in BY_MINUTE])
async def test_documents_of_an_earlier_model_are_hidden(kept: Kept, collection: Collection) -> None:
    await kept.put(collection, "old", RENEWED - MOMENT)
    await kept.put(collection, "new", RENEWED)
    await kept.put(collection, "other", RENEWED - MOMENT, OTHER)
    assert await kept.ids(Query.of(collection, KEY)) == ["new"]
    early = datetime(2000, 1, 1, tzinfo=UTC)
    assert await kept.ids(Query.of(collection, KEY, since=early)) == ["new"]
    assert await kept.ids(Query.of(collection, KEY, since=RENEWED + MOMENT)) == []
    assert await kept.ids(Query.of(collection, KEY, newest_first=True, limit=1)) == ["new"]
    assert await kept.ids(Query(collection)) == ["other", "new"]
    assert await kept.ids(Query(collection, ids=["old", "new", "other"])) == ["other", "new"]
    assert await kept.present.count(Query.of(collection, KEY)) == 1
    assert await kept.present.get(collection, "old") is None
    assert (await kept.present.get(collection, "new") or {})["_id"] == "new"
    assert await kept.present.get(collection, "none") is None
    # It is there, and may be deleted.
    assert await kept.present.delete(Query(collection, ids=["old"])) == 1


@pytest.mark.parametrize("collection", BY_MINUTE)
async def test_traffic_belongs_to_the_owner_from_its_minute_on(
    kept: Kept, collection: Collection
) -> None:
    minute = RENEWED.replace(second=0, microsecond=0)
    await kept.put(collection, "old", minute - timedelta(minutes=1))
    await kept.put(collection, "new", minute)
    assert await kept.ids(Query.of(collection, KEY)) == ["new"]


def test_counts_of_that_minute_begin_anew() -> None:
    traffic = TrafficWindows("i")
    for key in (KEY, OTHER):
        traffic.answered(key, 1000.0, 1.0, 1)
    traffic.changed(2000.0, 10)
    traffic.discard(KEY)
    assert traffic.current(KEY) == []
    found = traffic.changed(2000.0, 10, everything=True)
    assert [one["version"] for one in found] == [2]
    traffic.answered(KEY, 1000.0, 1.0, 1)
    assert [window.requests for _, window in traffic.current(KEY)] == [1]


async def test_labels_of_an_earlier_model_are_replaced(kept: Kept) -> None:
    old = RENEWED - timedelta(days=1)
    await kept.put(Collection.LABELS, "m-1/r#0", old, request_id="r", row=0, label=7)
    common: dict[str, Any] = {"request_id": "r", "rows": 1, "columns": [], "data": []}
    await kept.put(Collection.CAPTURES, "c1", old, predictions=[7], **common)
    feedback = Feedback(kept.present)
    early = await feedback.add(KEY, [Label("r", 0, 7)])
    assert (early["unmatched"], early["duplicate"], early["labelled_rows"]) == (1, 0, 0)
    await kept.put(Collection.CAPTURES, "c2", datetime.now(UTC), predictions=[8], **common)
    found = await feedback.add(KEY, [Label("r", 0, 8)])
    assert (found["matched"], found["ambiguous"]) == (1, 0)
    assert (found["labelled_rows"], found["coverage"]) == (1, 1.0)
    assert (await feedback.add(KEY, [Label("r", 0, 8)]))["duplicate"] == 1
