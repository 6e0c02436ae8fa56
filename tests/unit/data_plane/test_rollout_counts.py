"""What proxies counted of rollouts, as the controller knows it."""

from pathlib import Path

from model_deployment.core.domain import State
from model_deployment.core.endpoints import EndpointName, EndpointRoute
from model_deployment.core.names import ModelKey
from model_deployment.core.rollout_counts import ArmCounts, StageCounts, total
from model_deployment.core.routes import Route
from model_deployment.data_plane.counts import PlaneCounts
from model_deployment.data_plane.route_table import RouteTable
from model_deployment.proxy.protocol import decode, encode, endpoint_message, endpoint_of
from model_deployment.recording.reported_counts import ReportedCounts

KEY = ModelKey("iris", 1)
ROUTE = EndpointRoute(
    EndpointName("iris", "champion"), KEY, ModelKey("iris", 2), 7, "canary-1", 0.25, default=True
)


def report(requests: int) -> dict[str, object]:
    counts = StageCounts(ArmCounts(requests, {"502": 1}, {3: requests - 1}), dropped=2)
    message = {"launches": {}, "rollouts": {"7": {"canary-1": counts.as_dict()}}}
    return decode(encode(message))


def test_an_endpoint_survives_the_wire() -> None:
    none = EndpointRoute(EndpointName("my model", "a-b"), None, waits=True, reason="no luck")
    for route in (ROUTE, none):
        assert endpoint_of(decode(encode(endpoint_message(route)))) == route
    assert endpoint_of({**endpoint_message(ROUTE), "newer": 1}) == ROUTE


def test_counts_are_absolute_and_outlive_their_proxy() -> None:
    counts = PlaneCounts(ReportedCounts())
    counts.apply("0-a", report(5))
    counts.apply("0-a", report(6))
    counts.apply("1-b", report(10))
    counts.apply("1-b", {})
    counts.end("0-a")
    found = counts.rollout(7)
    assert {proxy: one["canary-1"].champion.requests for proxy, one in found.items()} == {
        "0-a": 6,
        "1-b": 10,
    }
    assert total([*found.values()])["canary-1"].champion == ArmCounts(16, {"502": 2}, {3: 14})
    assert counts.rollout(8) == {}


def test_they_are_kept_until_an_endpoint_is_published_without_the_rollout(tmp_path: Path) -> None:
    counts = PlaneCounts(ReportedCounts())
    counts.apply("0-a", report(5))
    table = RouteTable(tmp_path / "rows.json")
    table.set_routes([Route(KEY, State.READY)])
    table.trim(counts)  # of an earlier controller's rollouts nothing is known yet
    assert counts.rollout(7)
    table.set_endpoints([ROUTE])
    table.trim(counts)
    assert counts.rollout(7)
    table.set_endpoints([EndpointRoute(ROUTE.name, KEY)])
    table.trim(counts)
    assert counts.rollout(7) == {}


def test_endpoints_go_with_the_first_routes(tmp_path: Path) -> None:
    table = RouteTable(tmp_path / "rows.json")
    table.set_endpoints([ROUTE])
    assert table.number == 0
    table.set_routes([])
    assert table.number == 1
    table.set_endpoints([])
    assert table.number == 2
