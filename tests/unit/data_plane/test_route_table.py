"""The table of routes as proxies get it."""

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import model_deployment
from model_deployment.core.domain import Address, State
from model_deployment.core.measures import LaunchTraffic
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from model_deployment.core.routes import Route, Target
from model_deployment.data_plane.counts import PlaneCounts
from model_deployment.data_plane.route_table import RouteTable
from model_deployment.proxy.protocol import (
    ROUTE_OPTIONS,
    decode,
    encode,
    route_message,
    route_of,
    traffic_message,
)
from model_deployment.recording.reported_counts import ReportedCounts

KEY = ModelKey("iris", 1)

_texts = st.text(max_size=20)
_addresses = st.builds(Address, _texts, st.integers(0, 65535), _texts)
_targets = st.builds(Target, st.none() | _texts, _texts, st.none() | _addresses)
_routes = st.builds(
    Route,
    key=st.builds(ModelKey, st.just("a model-x"), st.integers(1, 99)),
    state=st.sampled_from(State),
    targets=st.lists(_targets, max_size=4).map(tuple),
    reason=_texts,
    options=st.builds(Options, workers=st.integers(1, 4)),
    artifact=_texts,
    waits=st.booleans(),
    usage_row=st.integers(0, 1023),
    max_batch_rows=st.integers(0, 100),
    retiring=st.lists(_targets, max_size=2).map(tuple),
)


@given(_routes)
def test_a_route_survives_the_wire(route: Route) -> None:
    assert route_of(decode(encode(route_message(route)))) == route
    assert route_of({**route_message(route), "newer": 1}) == route


def test_proxies_are_told_of_all_options_that_they_use_and_of_no_others() -> None:
    used: set[str] = set()
    for room in ("proxy", "recording"):
        for file in Path(model_deployment.__file__).with_name(room).rglob("*.py"):
            used |= {*re.findall(r"\boptions\.(\w+)", file.read_text())}
    used &= {*Options.declarations()}
    assert used == {*ROUTE_OPTIONS}
    # A proxy of a release without the word "auto" reads what it is told.
    route = Route(KEY, State.READY, options=Options(threads="auto", capture_exclude=("a",)))
    told = decode(encode(route_message(route)))["options"]
    assert {*told} == used
    assert told["capture_exclude"] == ["a"]


def test_counts_of_all_launches_of_the_table_are_kept(tmp_path: Path) -> None:
    counts = PlaneCounts(ReportedCounts())
    message = traffic_message(LaunchTraffic(answered=1), 0.0)
    launches = ["first", "second", "waits", "retiring", "gone"]
    counts.apply("0-a", {"launches": dict.fromkeys(launches, message)})
    address = Address("127.0.0.1", 1)
    targets = (
        Target("first", "first", address),
        Target("second", "second", address),
        Target("waits", "earlier"),
        Target(None, "without"),
    )
    table = RouteTable(tmp_path / "rows.json")
    table.set_routes([Route(KEY, State.READY, targets, retiring=(Target("retiring", "retiring"),))])
    table.trim(counts)
    found = {one: counts.traffic(one, certain=True).answered for one in launches}
    assert found == {"first": 1, "second": 1, "waits": 1, "retiring": 1, "gone": 0}
