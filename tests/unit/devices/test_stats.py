"""How versions do on devices and on the server: from documents, side by side, and bounded."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest

from model_deployment.core.devices import DeviceProject
from model_deployment.core.names import ModelKey
from model_deployment.devices.stats import DeviceStats
from model_deployment.devices.views import VersionStats
from model_deployment.documents.base import Collection, Documents
from model_deployment.recording.windows import TrafficWindow
from tests.support.memory_documents import START, MemoryDocuments

KEY = ModelKey("m", 1)
HALLS = DeviceProject(1, "halls", ("m",), START)
UNTIL = START + timedelta(days=1)


class World:
    """Documents of devices and of a server."""

    def __init__(self) -> None:
        self.documents = MemoryDocuments()
        self.served = TrafficWindow()
        self.verdict: str | None = None

    def minute(self, requests: int, *latencies: float, project: str = "halls", **more: Any) -> None:
        window = TrafficWindow(requests=requests, rows=2 * requests)
        for one in latencies:
            window.latencies.observe(one)
        self._add(Collection.DEVICE_TRAFFIC, project, {**window.as_dict(), **more})

    def captured(self, *predictions: Any, project: str = "halls", **more: Any) -> None:
        self._add(Collection.DEVICE_CAPTURES, project, {"predictions": [*predictions], **more})

    def _add(self, collection: Collection, project: str, members: Mapping[str, Any]) -> None:
        kept = self.documents.kept[collection]
        head = {"_id": str(len(kept)), "model": "m", "version": 1, "project": project}
        kept.append({**head, "ts": START + timedelta(seconds=len(kept)), **members})

    async def measure(self, **running: int) -> list[VersionStats]:
        async def opened() -> Documents:
            return self.documents.store

        async def serving(key: ModelKey, since: datetime, until: datetime) -> dict[str, Any]:
            total = self.served if key == KEY else TrafficWindow()
            return {"total": total.summary()}

        stats = DeviceStats(opened, serving, lambda key: self.verdict if key == KEY else None)
        keys = {ModelKey("m", int(name[1:])): count for name, count in running.items()}
        return await stats.measure(HALLS, keys, START, UNTIL)


@pytest.fixture
def it() -> World:
    return World()


async def test_minutes_of_all_devices_are_added_up(it: World) -> None:
    it.minute(3, 1.0, 1.0, 1.0, device="a")
    it.minute(2, 9.0, device="b", errors={"model": 1})
    [found] = await it.measure(v1=2)
    assert (found.key, found.running) == (KEY, 2)
    place = found.devices
    assert (place.requests, place.rows, dict(place.errors)) == (5, 10, {"model": 1})
    assert place.p50_ms == pytest.approx(1.0, rel=0.1)
    assert place.p99_ms == pytest.approx(9.0, rel=0.1)
    assert not place.sampled


async def test_devices_of_other_projects_other_versions_and_other_times_are_left_out(
    it: World,
) -> None:
    it.minute(1, 1.0)
    it.minute(100, project="attic")
    it.minute(100, version=2)
    it.minute(100, ts=START - timedelta(minutes=1))
    it.minute(100, ts=UNTIL)
    it.captured(1.0, project="attic")
    [found] = await it.measure(v1=1)
    assert found.devices.requests == 1
    assert found.devices.predictions is None


async def test_server_is_side_by_side_with_devices(it: World) -> None:
    it.served.requests, it.served.rows = 40, 40
    it.verdict = "drift"
    for number in range(50):
        it.captured(float(number))
        it.documents.capture(str(number), ["x"], [[1]], [float(number)])
    [found] = await it.measure(v1=1)
    assert found.server is not None
    assert (found.server.requests, found.server.verdict) == (40, "drift")
    assert found.devices.predictions == found.server.predictions
    assert (found.drift, found.drift_reason) == (0.0, "predictions are alike")


async def test_predictions_that_moved_on_devices_are_told(it: World) -> None:
    for number in range(50):
        it.captured("cat" if number < 45 else "dog")
        it.documents.capture(str(number), ["x"], [[1]], ["cat" if number < 10 else "dog"])
    [found] = await it.measure(v1=1)
    assert found.drift == pytest.approx(0.7)
    assert found.drift_reason == "predictions on devices differ much from those on the server"


async def test_version_that_was_never_on_the_server_has_no_place_there(it: World) -> None:
    it.minute(1, 1.0)
    first, other = await it.measure(v2=0, v1=3)
    assert [one.key.version for one in (first, other)] == [1, 2]
    assert first.server is None
    assert other.server is None
    assert other.devices.requests == 0
    assert first.drift is None
    assert first.drift_reason.startswith("too few predictions to compare: 0 on devices")


async def test_newest_documents_are_read_where_there_are_too_many(it: World) -> None:
    for number in range(20):
        it.captured(float(number))
        it.minute(1, 1.0)
    with (
        patch("model_deployment.devices.stats._MINUTES", 7),
        patch("model_deployment.devices.stats._CAPTURES", 5),
    ):
        [found] = await it.measure(v1=1)
    assert (found.devices.requests, found.devices.sampled) == (7, True)
    assert found.devices.predictions is not None
    assert (found.devices.predictions["min"], found.devices.predictions["count"]) == (15.0, 5)


async def test_reading_ends_in_time(it: World) -> None:
    for _ in range(20):
        it.minute(1, 1.0)
    with patch("model_deployment.devices.stats._PATIENCE", -1.0):
        [found] = await it.measure(v1=1)
    assert (found.devices.requests, found.devices.sampled) == (1, True)
