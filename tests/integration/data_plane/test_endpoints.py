"""Endpoints in front of real proxies and model servers: no request is lost when the versions change."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from model_deployment.app.proxies import build_data_plane
from model_deployment.core.endpoints import EndpointName, EndpointRoute
from model_deployment.core.names import ModelKey
from model_deployment.core.rollout_counts import StageCounts, total
from model_deployment.credentials.verify import Credentials
from model_deployment.data_plane.data_plane import DataPlane, PlaneEvents
from model_deployment.settings import Settings
from tests.support import audit
from tests.support.harness import HOST
from tests.support.marked_callers import MarkedCallers
from tests.support.routes import ready_route
from tests.support.stubs import Stub, Stubs
from tests.support.waiting import until

NAME = EndpointName("stub", "champion")
CALLERS = 16
SWITCHES = 50


@dataclass
class Versions:
    """Two versions of a model, behind the proxies of a data plane."""

    plane: DataPlane
    port: int
    stubs: dict[ModelKey, Stub]

    @property
    def keys(self) -> list[ModelKey]:
        return [*self.stubs]

    async def publish(self, **endpoint: object) -> None:
        members: dict[str, object] = {"champion": self.keys[0]}
        self.plane.publish_endpoints([EndpointRoute(NAME, **members | endpoint)])  # type: ignore[arg-type]
        await self.plane.routed()

    async def counts(self, stage: str) -> StageCounts:
        await self.plane.refresh()
        return total([*self.plane.rollout_counts(7).values()]).get(stage, StageCounts())

    @asynccontextmanager
    async def called(self) -> AsyncIterator[MarkedCallers]:
        """Callers on a thread of their own: this one may run the proxy."""
        callers = MarkedCallers(self.port, str(NAME), CALLERS, by_version=True)
        await asyncio.to_thread(callers.__enter__)
        try:
            yield callers
        finally:
            await asyncio.to_thread(callers.__exit__, None, None, None)


@asynccontextmanager
async def versions(tmp_path: Path, stubs: Stubs, proxies: int) -> AsyncIterator[Versions]:
    instance = f"plane-{os.getpid()}-{tmp_path.name}"
    settings = Settings(data_dir=tmp_path / "data", port=1024, proxies=proxies)
    for folder in ("proxies", "logs", "models/m/model"):
        (settings.data_dir / folder).mkdir(parents=True, mode=0o700)
    (settings.data_dir / "models/m/model/MLmodel").write_text("flavors: {}\n")
    started = {ModelKey("stub", n): stubs.serve(name=str(n)) for n in (1, 2)}
    credentials = Credentials(settings.credentials)
    credentials.open()
    events = PlaneEvents(lambda: None, lambda key: None, lambda key, text: None)
    listener = socket.create_server((HOST, 0), backlog=512)
    async with AsyncExitStack() as stack:
        stack.callback(audit.kill_all, instance)
        plane = await build_data_plane(settings, instance, listener, credentials, events)
        stack.push_async_callback(plane.close)
        running = asyncio.create_task(plane.run())
        stack.callback(running.cancel)
        stack.push_async_callback(plane.retire, 5.0)
        found = Versions(plane, listener.getsockname()[1], started)
        await found.publish()
        routes = [
            ready_route(key, str(key), stub.port, artifact="m") for key, stub in started.items()
        ]
        await until(lambda: plane.publish(routes), timeout=30, what="the proxies")
        await until(lambda: plane.serving == max(1, proxies), timeout=30, what="all proxies")
        yield found


@pytest.fixture(params=[0, 1, 2], ids=["in this process", "one proxy", "two proxies"])
async def served(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Versions]:
    with Stubs(tmp_path / "stubs") as stubs:
        async with versions(tmp_path, stubs, request.param) as found:
            yield found


async def test_no_request_is_lost_while_the_champion_changes(served: Versions) -> None:
    async with served.called() as callers:
        for number in range(SWITCHES):
            await served.publish(champion=served.keys[number % 2])
            await asyncio.to_thread(callers.more, CALLERS)
        assert callers.failed() == []
    assert callers.wrong == []
    assert {*callers.versions} == {"1", "2"}


async def test_a_candidate_that_is_killed_fails_only_what_it_had(served: Versions) -> None:
    candidate = served.keys[1]
    rollout = {"candidate": candidate, "rollout": 7, "stage": "canary-0", "share": 0.5}
    await served.publish(**rollout)
    async with served.called() as callers:
        await asyncio.to_thread(callers.more, 200)
        os.kill(served.stubs[candidate].pid, signal.SIGKILL)
        await asyncio.to_thread(callers.more, 200)
    assert callers.wrong == []
    failed = callers.failed()
    assert len(failed) <= CALLERS
    assert {answer.status for answer in failed} <= {502}
    counts = await served.counts("canary-0")
    assert counts.champion.failures == {}
    assert counts.candidate.failures.get("502", 0) == len(failed)
    assert counts.candidate.failures["503"] > 0
    assert counts.champion.requests + counts.candidate.requests == len(callers.answers)
    # Half of the requests, give or take six standard deviations.
    share = counts.candidate.requests / len(callers.answers)
    assert abs(share - 0.5) < 3 / len(callers.answers) ** 0.5


async def test_shadowed_requests_are_counted_over_all_proxies(served: Versions) -> None:
    candidate = served.keys[1]
    shadow = {"candidate": candidate, "rollout": 7, "stage": "shadow", "shadow": 1.0}
    await served.publish(**shadow)
    async with served.called() as callers:
        await asyncio.to_thread(callers.more, 200)
    assert (callers.failed(), callers.wrong, {*callers.versions}) == ([], [], {"1"})

    async def all_counted() -> bool:
        counts = await served.counts("shadow")
        return counts.candidate.requests + counts.dropped == len(callers.answers)

    await until(all_counted, timeout=20, what="the copies")
    counts = await served.counts("shadow")
    assert counts.candidate.requests > 0
    assert (counts.candidate.failed, counts.champion_only, counts.candidate_only) == (0, 0, 0)
    await served.publish(champion=candidate)
    assert served.plane.rollout_counts(7) == {}
