"""Which reports are due, and that the schedule goes on after failures."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from model_deployment.core.names import ModelKey
from model_deployment.documents.base import StoreUnavailable
from model_deployment.reports.last_reports import LastReport, LastReports
from model_deployment.reports.schedule import Schedule
from model_deployment.reports.service import Reporter
from tests.support.waiting import until

KEY, OTHER, IDLE = ModelKey("iris", 1), ModelKey("wine", 3), ModelKey("wine", 4)
NOW = datetime(2026, 1, 31, tzinfo=UTC)


def report(at: datetime, verdict: str = "ok") -> dict[str, Any]:
    return {"_id": "r", "verdict": verdict, "headline": "Unchanged", "ts": at}


async def no_reports(key: ModelKey, limit: int) -> list[Mapping[str, Any]]:
    return []


async def nothing() -> list[tuple[ModelKey, datetime]]:
    return []


class FakeReporter:
    """Notes which reports are asked for; the first one finds the store away."""

    def __init__(self) -> None:
        self.asked: list[tuple[ModelKey, timedelta]] = []

    async def is_worthwhile(self, key: ModelKey, last: datetime | None) -> bool:
        return key != IDLE

    def begin(self, key: ModelKey, since: datetime, until: datetime) -> str:
        self.asked.append((key, until - since))
        return str(len(self.asked))

    async def wait(self, key: ModelKey, id: str, seconds: float) -> None:
        if id == "1":
            raise StoreUnavailable("away")
        if id == "2":
            raise ValueError("a bug")


async def test_schedule_goes_on_after_failures() -> None:
    reporter = FakeReporter()

    async def served() -> list[tuple[ModelKey, datetime]]:
        return [(KEY, NOW), (IDLE, NOW), (OTHER, NOW)]

    schedule = Schedule(
        cast(Reporter, reporter), LastReports(no_reports), served,
        every=timedelta(seconds=0.01), window=timedelta(days=2),
    )  # fmt: skip
    task = asyncio.create_task(schedule.run())
    await until(lambda: len(reporter.asked) >= 5, what="some rounds")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [key for key, _ in reporter.asked[:4]] == [KEY, OTHER, KEY, OTHER]
    assert {window for _, window in reporter.asked} == {timedelta(days=2)}


@given(st.integers(0, 400), st.none() | st.integers(0, 400))
def test_a_report_is_due_a_day_after_the_last_one_or_else_the_deploy(
    deployed: int, made: int | None
) -> None:
    last = LastReports(no_reports)
    if made is not None:
        last.made(KEY, report(NOW - timedelta(hours=made)))
    schedule = Schedule(
        cast(Reporter, None), last, nothing, every=timedelta(days=1), window=timedelta(days=7)
    )
    due = schedule.due([(KEY, NOW - timedelta(hours=deployed))], NOW)
    # A version that is deployed anew has its earlier reports.
    assert bool(due) == (deployed >= 24 and (made is None or made >= 24))


def test_a_verdict_holds_since_the_oldest_report_in_a_row() -> None:
    ages = enumerate(["drift", "drift", "ok", "drift"])
    found = LastReport.of([report(NOW - timedelta(hours=age), verdict) for age, verdict in ages])
    assert (found.verdict, found.at, found.since) == ("drift", NOW, NOW - timedelta(hours=1))


async def test_last_reports_are_read_once_and_told_afterwards() -> None:
    asked: list[ModelKey] = []
    away = True

    async def find(key: ModelKey, limit: int) -> list[Mapping[str, Any]]:
        asked.append(key)
        if away:
            raise StoreUnavailable("away")
        return [report(NOW)] if key == KEY else []

    last = LastReports(find)
    assert not await last.read([KEY, OTHER])
    away = False
    assert await last.read([KEY, OTHER])
    assert await last.read([KEY, OTHER])
    assert asked == [KEY, KEY, OTHER]
    found = last.of(KEY)
    assert found is not None
    assert (found.at, found.verdict, last.of(OTHER)) == (NOW, "ok", None)
    last.made(KEY, report(NOW + timedelta(hours=1)))
    again = last.of(KEY)
    assert again is not None
    assert (again.at, again.since) == (NOW + timedelta(hours=1), NOW)
    last.made(OTHER, report(NOW + timedelta(days=1)))
    last.forget(KEY)
    assert await last.read([KEY, OTHER])
    assert asked == [KEY, KEY, OTHER, KEY]
    assert await last.read([KEY])
    assert last.of(OTHER) is None
