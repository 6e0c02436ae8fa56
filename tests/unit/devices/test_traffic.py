"""What one device served: its minutes of a span of time, and those of no other device."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from model_deployment.core.device_messages import StoredMessage
from model_deployment.core.devices import Device, MessageKind
from model_deployment.dashboard.device_charts import charts
from model_deployment.devices.stored_documents import collection_of, documents_of
from model_deployment.devices.traffic import DeviceTraffic
from model_deployment.documents.base import Documents
from model_deployment.documents.embedded import EmbeddedDocuments
from model_deployment.documents.owner_view import DocumentSource

INSTANCE = "instance"
MIDNIGHT = datetime(2026, 1, 31, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Opened:
    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    async def opened(self) -> Documents:
        return self._documents


@pytest.fixture
async def documents(tmp_path: Path) -> AsyncIterator[Documents]:
    store = EmbeddedDocuments(tmp_path / "documents.db")
    await store.open()
    yield cast(Documents, store)
    await store.close()


def traffic(documents: Documents, instance: str = INSTANCE) -> DeviceTraffic:
    return DeviceTraffic(cast(DocumentSource, Opened(documents)), instance=instance)


def device(id: int = 7) -> Device:
    return Device(id, 1, f"camera-{id}", (), {}, MIDNIGHT)


async def served(
    documents: Documents,
    *moments: datetime,
    id: int = 7,
    instance: str = INSTANCE,
    requests: int = 60,
) -> None:
    """Store a minute of a device for each moment, as the delivery does."""
    for at in moments:
        minute = int((at - EPOCH) / timedelta(minutes=1))
        data = {
            "release": 1, "model": "m", "version": 1, "minute": minute, "requests": requests,
            "rows": requests, "errors": {"odd one": 2}, "latencies": [[12, requests - 2]],
        }  # fmt: skip
        message = StoredMessage(
            1, 1, id, "hall", f"camera-{id}", "s", minute, MessageKind.METRICS, at, at, data
        )
        made = documents_of(message, instance)
        written = await documents.insert(collection_of(message.kind), made)
        assert not written.refused, written.refused


def minutes(first: datetime, *numbers: int) -> list[datetime]:
    return [first + timedelta(minutes=number) for number in numbers]


async def test_minutes_of_a_span_are_found_across_midnight_and_in_order(
    documents: Documents,
) -> None:
    await served(documents, *minutes(MIDNIGHT, 3, -1, 0, -61, -2000))
    found = await traffic(documents).minutes(
        device(), MIDNIGHT - timedelta(hours=1), MIDNIGHT + timedelta(minutes=3)
    )
    assert [at for at, _ in found] == minutes(MIDNIGHT, -1, 0)
    assert found[0][1]["requests"] == 60


async def test_minutes_are_of_this_device_of_this_controller(documents: Documents) -> None:
    await served(documents, MIDNIGHT, id=7)
    await served(documents, MIDNIGHT, id=77, requests=99)
    await served(documents, MIDNIGHT, id=7, instance="another", requests=98)
    span = (MIDNIGHT - timedelta(days=1), MIDNIGHT + timedelta(days=1))
    found = await traffic(documents).minutes(device(7), *span)
    assert [counted["requests"] for _, counted in found] == [60]
    assert await traffic(documents).minutes(device(8), *span) == []


async def test_charts_show_them_with_all_kinds_of_errors_as_one(documents: Documents) -> None:
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    await served(documents, *minutes(now, -3, -2, -1))
    requests, latency = await charts(traffic(documents).minutes, device(), "1h")
    assert requests.summary.startswith("180 requests, 180 rows; 6 ")
    shown = {one.label: sum(value or 0 for value in one.values) for one in requests.series}
    assert shown == {"answered": 174, "model errors": 6, "caller errors": 0}
    assert "p50 0.8 ms" in latency.summary
    assert await charts(traffic(documents).minutes, device(8), "1h") == []
