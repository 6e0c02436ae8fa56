"""What candidates answered to copies of requests: from the recorder to every document store."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from model_deployment.core.domain import State
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from model_deployment.core.routes import Route
from model_deployment.documents.base import Collection, Documents, Query
from model_deployment.documents.opening import OpenedStore
from model_deployment.metrics.service import Monitoring
from model_deployment.recording.drain import Drain, DrainConfig
from model_deployment.recording.recorder import Recorder
from model_deployment.recording.reported_counts import ReportedCounts
from model_deployment.recording.spool import Spool
from model_deployment.recording.windows import TrafficWindows

pytest_plugins = ["tests.support.document_store_fixtures"]

CHAMPION = Route(ModelKey("m", 1), State.READY)
CANDIDATE = Route(ModelKey("m", 2), State.READY, options=Options(capture_rate=0))
OTHER = Route(ModelKey("other", 2), State.READY)


class Way:
    """A recorder, and a drain into a real store."""

    def __init__(self, folder: Path, store: Documents) -> None:
        self.store = store
        self.spool = Spool(folder, max_bytes=10**7)
        self.spool.open()
        self.recorder = Recorder(self.spool, TrafficWindows("i"))
        self.drain = Drain(DrainConfig(str(folder), "", 1e5, 100, "salt"), store)
        self.monitoring = Monitoring(
            cast(Any, OpenedStore(store)),
            ReportedCounts(),
            baseline=cast(Any, None),
            write_back=None,
        )

    def predicted(self, *names: str, endpoint: str = "") -> None:
        for name in names:
            body, answer = b'{"dataframe_records": [{"x": 1}]}', b'{"predictions": [1]}'
            self.recorder.predicted(
                CHAMPION,
                name,
                "application/json",
                body,
                answer,
                1,
                0.5,
                endpoint,
                launch_id="l1",
            )
        self.recorder.flush()

    def shadowed(
        self, *names: str, route: Route = CANDIDATE, answer: bytes = b"[2]", status: int = 200
    ) -> None:
        for name in names:
            self.recorder.shadowed(route, 7, name, answer, status, 0.0125, "l2")

    async def arrived(self) -> None:
        while await self.drain.step():
            pass

    async def kept(self, collection: Collection) -> list[dict[str, Any]]:
        return [one async for one in self.store.find(Query(collection))]

    async def requests(self, collection: Collection) -> list[tuple[str, int, str]]:
        kept = await self.kept(collection)
        return sorted((one["model"], one["version"], one["request_id"]) for one in kept)


@pytest.fixture
async def way(tmp_path: Path, store: Documents) -> AsyncIterator[Way]:
    it = Way(tmp_path / "spool", store)
    yield it
    it.spool.close()


async def test_shadows_are_stored_apart_from_captures(way: Way) -> None:
    way.predicted("a", endpoint="m@champion")
    way.shadowed("a", answer=b'{"predictions": [[1.5, null]]}')
    way.shadowed("b", answer=b'{"detail": "it raised"}', status=502)
    way.shadowed("c", answer=b"[" + b"1," * 60 + b"1]")
    way.shadowed("d", answer=b"[1")
    way.predicted("e")
    await way.arrived()
    captures = await way.kept(Collection.CAPTURES)
    by_endpoint = {one["request_id"]: one.get("endpoint") for one in captures}
    assert by_endpoint == {"a": "m@champion", "e": None}
    by_request = {one["request_id"]: one for one in await way.kept(Collection.SHADOWS)}
    answered, failed, large, odd = (by_request[name] for name in "abcd")
    del answered["_id"], answered["ts"]
    assert answered == {
        "model": "m", "version": 2, "request_id": "a", "launch_id": "l2", "rollout": 7, "status": 200,
        "latency_ms": 12.5, "predictions": [[1.5, None]], "left_out": "",
    }  # fmt: skip
    assert (failed["status"], failed["predictions"], failed["left_out"]) == (502, None, "")
    assert (large["predictions"], large["left_out"]) == (None, "too_large")
    assert (odd["predictions"], odd["left_out"]) == (None, "unreadable")
    # Only captures count as captures.
    assert (way.drain.state.written, way.drain.state.dead) == (2, 0)


async def test_a_request_is_erased_with_its_shadows(way: Way) -> None:
    way.predicted("a", "b")
    way.shadowed("a", "b")
    way.shadowed("a", route=OTHER)
    await way.arrived()
    # On their way to the store while the request is erased; the second would be a dead letter.
    way.shadowed("a")
    way.shadowed("a", status=cast(int, "odd"))
    assert await way.monitoring.erase(CHAMPION.key, "a") == 1
    left = [("m", 2, "b"), ("other", 2, "a")]
    assert await way.requests(Collection.SHADOWS) == left
    await way.arrived()
    assert await way.requests(Collection.SHADOWS) == left
    assert await way.requests(Collection.CAPTURES) == [("m", 1, "b")]
    assert await way.kept(Collection.DEAD_LETTERS) == []
    # Later requests of that name are other requests.
    way.shadowed("a")
    await way.arrived()
    assert await way.requests(Collection.SHADOWS) == [("m", 2, "a"), *left]


async def test_dead_letters_of_shadows_are_erased_with_their_requests(way: Way) -> None:
    way.shadowed("a", "b", status=cast(int, "odd"))
    await way.arrived()
    assert await way.requests(Collection.DEAD_LETTERS) == [("m", 2, "a"), ("m", 2, "b")]
    await way.monitoring.erase(CHAMPION.key, "a")
    assert await way.requests(Collection.DEAD_LETTERS) == [("m", 2, "b")]
