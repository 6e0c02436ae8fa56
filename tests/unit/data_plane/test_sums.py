"""Sums over proxies."""

import time
from dataclasses import replace

import pytest

from model_deployment.core.measures import LaunchTraffic, ProxyCounters
from model_deployment.data_plane.sums import LaunchReports, ended, sum_counters, sum_traffic
from model_deployment.proxy.protocol import (
    counters_message,
    counters_of,
    decode,
    encode,
    traffic_message,
    traffic_of,
)

COUNTS = ProxyCounters(
    checked=True,
    refused=2,
    violations={("x", "type"): 3, ("", "form"): 1},
    batches=2,
    batched_rows=12,
    batch_sizes=(1, 1, *[0] * 11),
    in_flight=4,
    waiting=1,
    held=100,
)


def test_counts_survive_the_wire() -> None:
    assert counters_of(decode(encode(counters_message(COUNTS)))) == COUNTS


def test_ages_go_on_while_a_report_is_old() -> None:
    traffic = LaunchTraffic(in_flight=1, oldest=2.0, answered=3, timeouts_in_row=1, reading=1)
    message = decode(encode(traffic_message(traffic, now=100.0)))
    assert traffic_of(message, now=105.0) == replace(traffic, oldest=7.0)
    idle = decode(encode(traffic_message(LaunchTraffic(idle=1.5), now=100.0)))
    assert traffic_of(idle, now=101.0) == LaunchTraffic(idle=2.5)


def test_traffic_adds_up() -> None:
    one = LaunchTraffic(in_flight=1, oldest=2.0, answered=3, timeouts_in_row=1, reading=1)
    other = LaunchTraffic(answered=4, idle=9.0)
    assert sum_traffic([one, other], certain=True) == LaunchTraffic(
        in_flight=1, oldest=2.0, answered=7, timeouts_in_row=1, reading=1
    )
    assert sum_traffic([other, replace(other, idle=5.0)], certain=True).idle == 5.0


def test_what_is_unknown_counts_as_a_request() -> None:
    idle = LaunchTraffic(idle=50.0)
    assert sum_traffic([idle], certain=False) == LaunchTraffic(in_flight=1)
    assert sum_traffic([], certain=True) == LaunchTraffic()


def reported(**traffic: int) -> dict[str, object]:
    return traffic_message(LaunchTraffic(**traffic), time.monotonic())


def timeouts(reports: LaunchReports) -> int:
    return sum(one.timeouts_in_row for one in reports.parts(time.monotonic()))


@pytest.mark.parametrize("answers_first", [True, False])
def test_time_outs_in_a_row_are_those_of_the_launch(answers_first: bool) -> None:
    """An answer through one proxy ends the row of another; time-outs after it count again."""
    reports = LaunchReports()
    if answers_first:
        reports.apply("b", reported(answered=5))
    reports.apply("a", reported(timeouts_in_row=3))
    assert timeouts(reports) == 3
    reports.apply("b", reported(answered=6))
    assert timeouts(reports) == 0
    reports.apply("a", reported(timeouts_in_row=4))
    reports.apply("b", reported(answered=6, timeouts_in_row=2))
    assert timeouts(reports) == 3
    reports.apply("a", reported(answered=1))
    assert timeouts(reports) == 0
    reports.apply("a", reported(answered=1, timeouts_in_row=1))
    assert timeouts(reports) == 1
    reports.forget("a")
    assert timeouts(reports) == 0


def test_counts_add_up() -> None:
    both = sum_counters([COUNTS, replace(COUNTS, checked=None, refused=1, unmergeable="odd")])
    assert both == ProxyCounters(
        checked=True,
        refused=3,
        violations={("x", "type"): 6, ("", "form"): 2},
        batches=4,
        batched_rows=24,
        batch_sizes=(2, 2, *[0] * 11),
        unmergeable="odd",
        in_flight=8,
        waiting=2,
        held=200,
    )


def test_an_ended_proxy_leaves_its_counts_but_no_requests() -> None:
    left = ended(COUNTS)
    assert (left.in_flight, left.waiting, left.held) == (0, 0, 0)
    assert sum_counters([left, COUNTS]).batches == 2 * COUNTS.batches
