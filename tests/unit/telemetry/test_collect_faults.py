"""Scrapes of a controller whose parts do not answer: what is known is told, and counters do not fall."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from prometheus_client.parser import text_string_to_metric_families as read_text

from model_deployment.core.domain import Deployment, Handle, State
from model_deployment.core.measures import LaunchTraffic, Memory, ProxyCounters
from model_deployment.core.names import ModelKey
from model_deployment.core.port_usage import PortUsage
from model_deployment.endpoints.views import EndpointView
from model_deployment.recording.upkeep import CaptureStatus
from model_deployment.runtime.memory import MemoryGauge
from model_deployment.state.database import DatabaseError
from model_deployment.telemetry.collect import Telemetry
from tests.support.counting import LocalCounts
from tests.support.launched import deployed

KEY = ModelKey("m", 1)


class StateDatabase:
    """The state database, which may be away."""

    away = False

    async def all(self) -> list[Deployment]:
        if self.away:
            raise DatabaseError("disk I/O error")
        return [deployed("m-1", starts=3), deployed("old-1", State.STOPPED)]

    async def usage(self, now: float) -> PortUsage:
        return PortUsage(8001, 8002, 1, 0, ())


async def _nothing() -> None:
    pass


async def _unmeasured(handles: Sequence[Handle]) -> Mapping[str, Memory]:
    return {}


async def _no_endpoints() -> list[EndpointView]:
    return []


class Scraped:
    def __init__(self) -> None:
        self.state = StateDatabase()
        self.served = LocalCounts()
        self.captures = CaptureStatus(1, 2, 3, 4, "")
        self._telemetry = Telemetry(
            deployments=cast(Any, self.state),
            ports=cast(Any, self.state),
            endpoints=_no_endpoints,
            counters=lambda key: ProxyCounters(),
            totals=self.served.reported.totals,
            captures=lambda: self.captures,
            idle=lambda: 0.0,
            traffic=lambda launch_id: LaunchTraffic(),
            memory=MemoryGauge(_unmeasured),
            workers=lambda handle: None,
            last_report=lambda key: None,
            refresh=_nothing,
            proxies=lambda: (1, 0),
        )

    async def scrape(self) -> dict[str, float]:
        """By name, with the outcome where there is one."""
        content, _ = await self._telemetry.page("")
        return {
            one.name.removeprefix("model_deployment_") + one.labels.get("outcome", ""): one.value
            for family in read_text(content.decode())
            for one in family.samples
        }


async def test_metrics_without_the_state_database_show_the_last_rows() -> None:
    it = Scraped()
    it.served.counters.answered(KEY, 0.1, 1)
    before = await it.scrape()
    assert (before["state_database_up"], before["requests_totalanswered"]) == (1, 1)
    assert before["restarts_total"] == 2
    it.state.away = True
    it.served.counters.answered(KEY, 0.1, 1)
    after = await it.scrape()
    assert (after["state_database_up"], after["requests_totalanswered"]) == (0, 2)
    assert after["restarts_total"] == 2


async def test_counters_do_not_fall_when_their_file_cannot_be_read() -> None:
    it = Scraped()
    names = ("captures_dropped_total", "captures_dead_total", "captures_written_total")
    before = await it.scrape()
    it.captures = CaptureStatus(0, 0, 0, 0, "cannot read it")
    after = await it.scrape()
    assert [before[name] for name in names] == [after[name] for name in names] == [2, 3, 4]
    assert after["store_up"] == 0


async def test_scrapes_share_nothing_with_the_rest_of_the_process() -> None:
    from prometheus_client import REGISTRY

    before = {family.name for family in REGISTRY.collect()}
    first, second = Scraped(), Scraped()
    first.served.counters.answered(KEY, 0.1, 1)
    assert (await first.scrape())["requests_totalanswered"] == 1
    assert (await second.scrape())["requests_totalanswered"] == 0
    assert {family.name for family in REGISTRY.collect()} == before
