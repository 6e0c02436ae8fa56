"""Retention: old documents go, and what a deployment chose is kept."""

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from model_deployment.core.names import ModelKey
from model_deployment.documents import retention as module
from model_deployment.documents.base import (
    RETENTION_DAYS,
    Collection,
    Query,
    StoreUnavailable,
    evidently_blob,
)
from model_deployment.documents.embedded import EmbeddedDocuments
from model_deployment.documents.opening import OpenedStore
from model_deployment.documents.retention import Retention

A, B = ModelKey("a", 1), ModelKey("b", 1)


class RetentionBench:
    """Retention, and the store that it looks after."""

    def __init__(self, folder: Path) -> None:
        self.store = EmbeddedDocuments(folder / "documents.db")
        self.opened = OpenedStore(self.store)
        self.chosen: dict[ModelKey, float] = {}
        self.restart()

    def restart(self) -> None:
        self.retention = Retention(self.opened, self._chosen_days)

    async def _chosen_days(self) -> Mapping[ModelKey, float]:
        return self.chosen

    async def put(self, collection: Collection, key: ModelKey, days: float) -> None:
        """A document of so many days ago."""
        await self.opened.opened()
        moment = datetime.now(UTC) - timedelta(days=days)
        name = f"{key}/{days:g}"
        one = {"_id": name, "model": key.model, "version": key.version, "ts": moment}
        assert (await self.store.insert(collection, [one])).inserted == 1

    async def names(self, collection: Collection) -> list[str]:
        return sorted([one["_id"] async for one in self.store.find(Query(collection))])


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[RetentionBench]:
    it = RetentionBench(tmp_path)
    yield it
    await it.store.close()


async def test_the_store_is_opened_when_it_comes(
    bench: RetentionBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> None:
        raise StoreUnavailable("it is away")

    with monkeypatch.context() as broken:
        broken.setattr(bench.store, "open", away)
        with pytest.raises(StoreUnavailable):
            await bench.opened.opened()
    await (await bench.opened.opened()).delete_blob("none")


@pytest.mark.parametrize("collection", [*Collection])
async def test_documents_are_kept_for_as_long_as_is_declared(
    bench: RetentionBench, collection: Collection
) -> None:
    days = RETENTION_DAYS[collection]
    await bench.put(collection, A, (days or 10_000) - 0.1)
    await bench.put(collection, A, (days or 10_000) + 0.1)
    await bench.retention.purge()
    left = await bench.names(collection)
    assert len(left) == (2 if days is None else 1)


async def test_captures_of_a_deployment_with_fewer_days_go_earlier(
    bench: RetentionBench,
) -> None:
    bench.chosen = {A: 2}
    for key in (A, B):
        for days in (1, 3, 40):
            await bench.put(Collection.CAPTURES, key, days)
            await bench.put(Collection.LABELS, key, days)
            await bench.put(Collection.SHADOWS, key, days)
            await bench.put(Collection.DEVICE_CAPTURES, key, days)
    await bench.retention.purge()
    assert await bench.names(Collection.CAPTURES) == ["a-1/1", "b-1/1", "b-1/3"]
    assert await bench.names(Collection.SHADOWS) == ["a-1/1", "b-1/1", "b-1/3"]
    assert await bench.names(Collection.DEVICE_CAPTURES) == ["a-1/1", "b-1/1", "b-1/3"]
    assert await bench.names(Collection.LABELS) == ["a-1/1", "b-1/1", "b-1/3", "b-1/40"]


async def test_captures_of_a_deployment_with_more_days_stay(bench: RetentionBench) -> None:
    bench.chosen = {A: 100, B: 5}
    for key in (A, B):
        for days in (4, 40, 101):
            await bench.put(Collection.CAPTURES, key, days)
            await bench.put(Collection.LABELS, key, days)
    await bench.retention.purge()
    assert await bench.names(Collection.CAPTURES) == ["a-1/4", "a-1/40", "b-1/4"]
    assert await bench.names(Collection.LABELS) == ["a-1/4", "a-1/40", "b-1/4"]


async def test_captures_of_deployments_that_chose_nothing_go_after_the_declared_days(
    bench: RetentionBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where another one keeps its captures for longer."""
    gone = [ModelKey("gone", number) for number in (1, 2)]
    bench.chosen = {A: 100}
    for key in (A, B, *gone):
        for days in (4, 40, 50, 101):
            await bench.put(Collection.CAPTURES, key, days)
    await bench.retention.purge()
    left = ["a-1/4", "a-1/40", "a-1/50", "b-1/4", "gone-1/4", "gone-2/4"]
    assert await bench.names(Collection.CAPTURES) == left

    def walks(*_: Any) -> None:
        raise AssertionError("it looks at documents that stay")

    real = bench.store.find
    monkeypatch.setattr(
        bench.store, "find", lambda q: walks() if q.collection == "captures" else real(q)
    )
    await bench.retention.purge()


async def test_a_reference_is_kept_however_old_it_is(bench: RetentionBench) -> None:
    bench.chosen = {A: 3, B: 5}
    for key in (A, B):
        for days in (1, 2, 4):
            await bench.put(Collection.REFERENCES, key, days)
    await bench.retention.purge()
    assert len(await bench.names(Collection.REFERENCES)) == 6


async def test_reports_and_pages_of_a_deployment_are_limited(
    bench: RetentionBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_REPORTS", 4)
    monkeypatch.setattr(module, "_PAGES", 2)
    monkeypatch.setattr(module, "_EVIDENTLY_PAGES", 1)
    bench.chosen = {A: 30, B: 30}

    async def report(key: ModelKey, days: float) -> None:
        await bench.put(Collection.REPORTS, key, days)
        await bench.store.put_blob(f"{key}/{days:g}", b"page")
        await bench.store.put_blob(evidently_blob(f"{key}/{days:g}"), b"page")

    async def pages(key: ModelKey, blob: Callable[[str], str] = str) -> list[float]:
        return [d for d in range(20) if await bench.store.get_blob(blob(f"{key}/{d}")) is not None]

    for days in range(10, 16):
        await report(A, days)
    await report(B, 10)
    await bench.retention.purge()
    assert await bench.names(Collection.REPORTS) == [
        "a-1/10", "a-1/11", "a-1/12", "a-1/13", "b-1/10",
    ]  # fmt: skip
    assert (await pages(A), await pages(B)) == ([10, 11], [10])
    assert (await pages(A, evidently_blob), await pages(B, evidently_blob)) == ([10], [10])
    # A new one, and another controller.
    for days in (9, 8):
        await report(A, days)
        await bench.retention.purge()
        assert await pages(A) == [days, days + 1]
        assert await pages(A, evidently_blob) == [days]
        bench.restart()
    assert await bench.names(Collection.REPORTS) == [
        "a-1/10", "a-1/11", "a-1/8", "a-1/9", "b-1/10",
    ]  # fmt: skip


async def test_the_page_of_a_report_goes_with_it(bench: RetentionBench) -> None:
    for days in (1, 200):
        await bench.put(Collection.REPORTS, A, days)
        for id in (f"a-1/{days}", evidently_blob(f"a-1/{days}")):
            await bench.store.put_blob(id, b"page")
    await bench.retention.purge()
    for days, kept in ((1, b"page"), (200, None)):
        for id in (f"a-1/{days}", evidently_blob(f"a-1/{days}")):
            assert await bench.store.get_blob(id) == kept
