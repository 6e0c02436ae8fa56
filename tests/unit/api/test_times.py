"""Moments in a query."""

import contextlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.api.times import parse_moment
from model_deployment.core.errors import InvalidRequest
from tests.support.cases import each

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-02", datetime(2026, 1, 2, tzinfo=UTC)),
        ("2026-01-02T03:04", datetime(2026, 1, 2, 3, 4, tzinfo=UTC)),
        ("2026-01-02 03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02t03:04:05.25z", datetime(2026, 1, 2, 3, 4, 5, 250_000, tzinfo=UTC)),
        ("2026-01-02T03:04:05.123456789Z", datetime(2026, 1, 2, 3, 4, 5, 123_456, tzinfo=UTC)),
        ("2026-01-02T03:04+02:00", datetime(2026, 1, 2, 1, 4, tzinfo=UTC)),
        ("2026-01-02T03:04-0230", datetime(2026, 1, 2, 5, 34, tzinfo=UTC)),
        ("2026-01-02T03:04:05+02", datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)),
        # What becomes of a plus sign in a query.
        ("2026-01-02T03:04:05 02:00", datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)),
        ("0s", NOW),
        ("90s", NOW - timedelta(seconds=90)),
        ("5m", NOW - timedelta(minutes=5)),
        ("24h", NOW - timedelta(hours=24)),
        ("7d", NOW - timedelta(days=7)),
        ("2w", NOW - timedelta(days=14)),
    ],
)
def test_time_is_read(text: str, moment: datetime) -> None:
    found = parse_moment(text, NOW)
    assert found == moment
    assert found.utcoffset() == timedelta(0)


@each("text", [
        "", " ", "now", "24", "h", "-24h", "+24h", "1.5h", "24H", "24 h", "24h ", "24h\n", "1h30m", "1y",
        "\u0662h", "999999999w", "1e3h", "0001-01-01T00:00+01:00", "9999-12-31T23:59-01:00", "2026-13-01",
        "2026-02-30", "2026-01-31T24:00", "2026-01-31T12", "2026-01-31T12:60", "2026-01-31T12:00:60",
        "2026-W05-6", "20260131", "31.01.2026", "01/31/2026", "2026-1-31", "2026-01-31Z",
        "2026-01-31T12:00+24:00", "2026-01-31T12:00+01:60", "2026-01-31T12:00:00,5", "2026-01-31T12:00 UTC",
        "2026-01-31T12:00:00:00", "2026-01-31T12:00:", "2026-01-31T12:00:00.", "2026-01-31T12:00.5",
        "2026-01-31T12:00:00.1234567890", "2026-01-31T12:00:00.5.5", "2026-01-31T12:00:0",
        "2026-01-31T12:0000", "2026-01-31T12:00:.5Z",
        "1769860800", "nan", "x" * 10_000, "\u0662\u0660\u0662\u0666-01-31",
    ])  # fmt: skip
def test_time_in_another_form_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^cannot use the time ") as caught:
        parse_moment(text, NOW)
    assert len(caught.value.detail) < 300


OFFSETS = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=OFFSETS | st.just(UTC)))
def test_time_written_by_python_is_read(moment: datetime) -> None:
    found = parse_moment(moment.isoformat(), NOW)
    assert found == moment
    assert found.tzinfo is UTC


@given(st.text() | st.from_regex(r"[0-9TZ:+ .smhdw-]{1,25}", fullmatch=True))
def test_time_of_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidRequest):
        assert parse_moment(text, NOW).tzinfo is UTC
