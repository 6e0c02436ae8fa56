"""Requests that did not fit the signature: refused or let through, a report counts them."""

from typing import Any

import pytest

from tests.support.report_jobs import codes, frame, report


def asked(requests: int, **job: Any) -> dict[str, Any]:
    some = [
        {"column": "a", "kind": "type", "count": 33},
        {"column": "b", "kind": "null", "count": 2},
    ]
    return report(frame(300, 1), frame(1000, 2), violations=some, requests=requests, **job)


def test_refused_requests_are_reported_and_no_drift() -> None:
    found = asked(225, refused={"refused": 3})
    assert (found["verdict"], codes(found)[0]) == ("ok", "refused")
    assert found["reasons"][0]["message"] == (
        "3 of 225 requests (1.3 %) were refused: 3 not fitting the signature; "
        "the most frequent violation is “type” of “a”."
    )
    assert found["refused"] == {
        "count": 3,
        "share": pytest.approx(3 / 225),
        "by_kind": {"refused": 3},
        "many": False,
    }
    assert found["headline"] == "Unchanged"
    many = asked(300, refused={"refused": 100, "malformed": 20, "unheard-of": 1})
    assert (many["verdict"], many["refused"]["many"], many["refused"]["count"]) == ("ok", True, 121)
    assert many["reasons"][0]["severity"] == "error"
    assert many["headline"] == "Unchanged; callers send wrong requests"
    assert "40 % of the requests were refused" in many["summary"]


def test_requests_let_through_are_reported_and_compared() -> None:
    found = asked(300, let_through=33)
    assert (found["verdict"], codes(found)[0]) == ("ok", "violations")
    assert "33 of 300 requests (11 %)" in found["reasons"][0]["message"]
    assert found["refused"]["count"] == 0
    # Counted by an earlier version.
    assert "35 violations in 300 requests" in asked(300)["reasons"][0]["message"]
