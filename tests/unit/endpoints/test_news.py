"""The webhook and the registry are told of each rollout that has ended, also after a crash."""

from collections.abc import Mapping
from typing import Any

from model_deployment.alerts.alert import Alert
from model_deployment.alerts.formats import WebhookFormat, body
from model_deployment.core.endpoints import Endpoint, Rollout, RolloutState
from model_deployment.endpoints.news import RolloutNews
from tests.support.endpoint_views import endpoint, rollout
from tests.support.waiting import until


class World:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.called: list[Mapping[str, Any]] = []
        self.written: list[Mapping[str, Any]] = []
        self.noted: list[Rollout] = []
        self.error: Exception | None = None
        self.news = RolloutNews(self._call, self._compare, self._write, self._told)

    async def _call(self, alert: Alert) -> None:
        self.called.append(body(alert, WebhookFormat.JSON))

    async def _compare(self, endpoint: Endpoint, rollout: Rollout) -> dict[str, Any]:
        if self.error:
            raise self.error
        return {"verdict": str(rollout.state)}

    async def _write(
        self, endpoint: Endpoint, rollout: Rollout, compared: Mapping[str, Any]
    ) -> str:
        self.written.append(compared)
        return ""

    async def _told(self, rollout: Rollout) -> None:
        self.noted.append(rollout)


async def test_each_end_is_told_once_and_noted() -> None:
    world, one = World(), rollout(state=RolloutState.PROMOTED)
    world.news.tell(endpoint(), one)
    world.news.tell(endpoint(), one)
    await until(lambda: world.noted, what="the note")
    assert [message["state"] for message in world.called] == ["promoted"]
    assert world.called[0]["version"] == one.candidate
    assert world.written == [{"verdict": "promoted"}]
    assert world.noted == [one]


async def test_what_cannot_be_told_is_not_tried_for_ever() -> None:
    world, one = World(), rollout(state=RolloutState.ROLLED_BACK)
    world.error = ValueError("no figures")
    world.news.tell(endpoint(), one)
    await until(lambda: world.noted, what="the note")
    assert not world.written
