"""Numbers, units and times as people read them."""

from datetime import datetime, timedelta, timezone

import pytest

from model_deployment.rendering import numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "\u2013"),
        (float("nan"), "\u2013"),
        (float("inf"), "inf"),
        (0, "0"),
        (-0.0, "0"),
        (1234567, "1,234,567"),
        (1234567.0, "1.23e+06"),
        (1234.5, "1,234"),
        (999.9, "1,000"),
        (-1999.9, "-2,000"),
        (0.123456, "0.123"),
        (1.23456, "1.23"),
        (12.3456, "12.3"),
        (123.456, "123"),
        (1.9, "1.9"),
        (1e-9, "1e-09"),
    ],
)
def test_number(value: float | None, text: str) -> None:
    assert numbers.number(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        ((0, 9), "0 %"),
        ((1, 0), "\u2013"),
        ((1, 5000), "< 0.1 %"),
        ((1, 30), "3.3 %"),
        ((1, 3), "33 %"),
        ((0.05,), "5.0 %"),
    ],
)
def test_percent(share: tuple[float, ...], text: str) -> None:
    assert numbers.percent(*share) == text


def test_count_has_a_plural() -> None:
    assert [numbers.count(n, "row") for n in (0, 1, 2000)] == ["0 rows", "1 row", "2,000 rows"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "< 1 min"), (61, "1 min"), (3700, "1 h 1 min"), (90_000, "1 d 1 h")],
)
def test_duration(seconds: float, text: str) -> None:
    assert numbers.duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(None, "\u2013"), (12, "12 B"), (14_000_000, "13 MB"), (3 * 1024**3, "3.0 GB")],
)
def test_size(size: float | None, text: str) -> None:
    assert numbers.size(size) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "\u2013"), (1.23, "1.2 ms"), (45.6, "46 ms"), (1234, "1.2 s")]
)
def test_milliseconds(value: float | None, text: str) -> None:
    assert numbers.milliseconds(value) == text


def test_moment_is_in_utc() -> None:
    noon = datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=2)))
    assert numbers.moment(noon) == numbers.moment(noon.isoformat()) == "2026-01-31 10:00:00"
    assert numbers.moment(None) == "\u2013"
