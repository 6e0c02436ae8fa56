"""An endpoint in front of two versions of a model, in the event loop of a test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from model_deployment.core.domain import State
from model_deployment.core.endpoints import EndpointName, EndpointRoute
from model_deployment.core.names import ModelKey
from model_deployment.core.rollout_counts import StageCounts
from model_deployment.core.routes import Route
from tests.support.proxy_front import Front
from tests.support.raw_http import Message, post
from tests.support.upstreams import Behave, Server, answers

CHAMPION, CANDIDATE = ModelKey("iris", 1), ModelKey("iris", 2)
NAME = EndpointName("iris", "champion")
PATH = "/iris@champion"
ROLLOUT = 7
JSON = "application/json"


def version(number: int) -> Behave:
    """Answers as this version."""
    return answers(b'{"predictions": [%d]}' % number, headers=[("Content-Type", JSON)])


@dataclass
class EndpointFront:
    front: Front
    champion: Server
    candidate: Server

    def route(self, key: ModelKey, state: State = State.READY, **more: Any) -> Route:
        server = self.champion if key == CHAMPION else self.candidate
        route = self.front.route_to(server, key=key, state=state, launch=f"launch-{key}")
        return replace(route, **more)

    def publish(self, *routes: Route, **endpoint: Any) -> None:
        """Both versions, unless routes are given."""
        members: dict[str, Any] = {"candidate": CANDIDATE, "rollout": ROLLOUT, "stage": "canary-0"}
        found = EndpointRoute(NAME, **({"champion": CHAMPION} | members | endpoint))
        both = [self.route(CHAMPION), self.route(CANDIDATE)]
        self.front.routes.publish(routes or both, [found])

    async def ask(self, body: bytes = b"{}", path: str = PATH, **headers: str) -> Message:
        return await self.front.ask(post(body, path, content_type=JSON, **headers))

    async def ask_for(self, answer: bytes, version: int, **headers: str) -> None:
        """Ask, and check what is answered, and by whom."""
        found = await self.ask(b"{}", PATH, **headers)
        assert (found.status, found.body) == (200, answer)
        assert found.get("x-model-version") == str(version)

    def counts(self, stage: str = "canary-0") -> StageCounts:
        counter = self.front.routes.rollouts()[ROLLOUT]
        return counter.stages.get(stage, StageCounts())


@asynccontextmanager
async def endpoint_front(
    champion: Behave | None = None, candidate: Behave | None = None, **options: Any
) -> AsyncIterator[EndpointFront]:
    """Two versions behind an endpoint; nothing of it is published."""
    async with (
        Server(champion or version(1)) as first,
        Server(candidate or version(2)) as second,
        Front(first, **options) as front,
    ):
        yield EndpointFront(front, first, second)
