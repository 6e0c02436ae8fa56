"""Reports on a schedule: when the alarm sounds, and which hosts the webhook may call."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from aiohttp import web

from model_deployment.core.names import ModelKey
from model_deployment.documents.base import StoreUnavailable
from model_deployment.reports import schedule
from model_deployment.reports.schedule import Alarm
from model_deployment.reports.service import Reporter
from model_deployment.reports.webhook import Webhook
from tests.support.waiting import until

KEY = ModelKey("iris", 1)


def made(verdict: str, message: str = "Column “a” has moved.") -> dict[str, Any]:
    return {"_id": "r1", "verdict": verdict, "report": {"reasons": [{"message": message}]}}


class FakeWebhook:
    """What an alarm has done."""

    def __init__(self) -> None:
        self.notes: list[tuple[ModelKey, str]] = []
        self.calls: list[Mapping[str, Any]] = []

    async def call(self, message: Mapping[str, Any]) -> None:
        self.calls.append(message)

    def alarm(self) -> Alarm:
        return Alarm(lambda key, text: self.notes.append((key, text)), cast(Webhook, self))


@pytest.mark.parametrize(
    ("before", "now"),
    [(None, "drift"), (None, "degraded"), ("ok", "drift"), ("drift", "degraded"),
     ("insufficient_data", "drift"), ("error", "degraded"), ("ok", "error")],
)  # fmt: skip
async def test_alarm_for_a_worse_verdict(before: str | None, now: str) -> None:
    fake = FakeWebhook()
    await fake.alarm()(KEY, made(now), made(before) if before else None)
    [(key, text)] = fake.notes
    assert key == KEY
    assert now in text
    assert "has moved" in text
    [message] = fake.calls
    assert message["verdict"] == now
    assert (message["model"], message["version"], message["report"]) == ("iris", 1, "r1")


@pytest.mark.parametrize(
    ("before", "now"),
    [(None, "ok"), ("drift", "drift"), ("degraded", "drift"), ("drift", "ok"), ("degraded", "error"),
     ("ok", "insufficient_data"), (None, "no_reference")],
)  # fmt: skip
async def test_alarm_stays_silent_for_other_verdicts(before: str | None, now: str) -> None:
    fake = FakeWebhook()
    await fake.alarm()(KEY, made(now), made(before) if before else None)
    assert not fake.notes
    assert not fake.calls


def callers(many: bool, verdict: str = "ok") -> dict[str, Any]:
    """A report of a window in which few or many requests were refused."""
    found = made(verdict)
    found["headline"] = "Unchanged; callers send wrong requests" if many else "Unchanged"
    found["report"]["refused"] = {"many": many}
    refused = {
        "severity": "error",
        "code": "refused",
        "message": "40 of 100 requests were refused.",
    }
    good = {"severity": "good", "code": "as_good", "message": "On 700 labelled rows …"}
    found["report"]["reasons"] = [good, *found["report"]["reasons"], *([refused] if many else [])]
    return found


OLD = {"_id": "r0", "verdict": "ok", "report": {"reasons": []}}


@pytest.mark.parametrize("before", [None, OLD, callers(False)])
async def test_alarm_when_callers_begin_to_send_wrong_requests(before: Any) -> None:
    fake = FakeWebhook()
    await fake.alarm()(KEY, callers(True), before)
    [(_, text)] = fake.notes
    assert "callers send wrong requests. 40 of 100" in text
    [message] = fake.calls
    assert (message["verdict"], message["reason"]) == ("ok", "40 of 100 requests were refused.")
    assert message["headline"].endswith("callers send wrong requests")


async def test_alarm_once_while_callers_send_wrong_requests() -> None:
    fake = FakeWebhook()
    for before, now in ((callers(True), callers(True)), (callers(True), callers(False))):
        await fake.alarm()(KEY, now, before)
    assert not fake.notes
    await fake.alarm()(KEY, callers(True, "drift"), callers(True))
    [message] = fake.calls
    # What moved, and not what labels say for the model, nor the callers, who are known.
    assert message["reason"] == "Column “a” has moved."


async def test_alarm_of_a_first_report_names_no_earlier_verdict() -> None:
    fake = FakeWebhook()
    await fake.alarm()(KEY, made("drift"), None)
    [(_, text)] = fake.notes
    assert "was" not in text
    assert "drift (the first report). Data drift." in text
    assert fake.calls[0]["previous"] is None
    await fake.alarm()(KEY, made("degraded"), made("insufficient_data"))
    assert "(was insufficient_data)" in fake.notes[1][1]


@pytest.fixture
async def server() -> AsyncIterator[tuple[str, list[Any]]]:
    """The address of a server on this machine, and what it was sent."""
    got: list[Any] = []

    async def take(request: web.Request) -> web.Response:
        got.append(await request.json())
        raise web.HTTPFound("/elsewhere")

    app = web.Application()
    app.router.add_post("/{any:.*}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook", got
    await runner.cleanup()


async def test_webhook_posts_once_and_follows_no_redirect(
    server: tuple[str, list[Any]],
) -> None:
    url, got = server
    await Webhook(url, private=True).call({"verdict": "drift"})
    assert got == [{"verdict": "drift"}]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "169.254.169.254"])
async def test_webhook_refuses_private_networks(
    server: tuple[str, list[Any]], host: str, caplog: pytest.LogCaptureFixture
) -> None:
    url, got = server
    await Webhook(url.replace("127.0.0.1", host), private=False).call({"verdict": "drift"})
    assert not got
    assert "cannot call the webhook" in caplog.text


async def test_webhook_without_a_url_posts_nothing() -> None:
    await Webhook("", private=False).call({})


async def test_webhook_away_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    await Webhook("http://127.0.0.1:9/", private=True).call({})
    assert "cannot call the webhook" in caplog.text


class FakeReporter:
    """Notes which reports are asked for; the first one finds the store away."""

    def __init__(self) -> None:
        self.asked: list[tuple[ModelKey, timedelta]] = []

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
    other = ModelKey("wine", 3)

    async def ready() -> list[ModelKey]:
        return [KEY, other]

    task = asyncio.create_task(
        schedule.run(cast(Reporter, reporter), ready, every=0.01, window=timedelta(days=2))
    )
    await until(lambda: len(reporter.asked) >= 5, what="some rounds")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [key for key, _ in reporter.asked[:4]] == [KEY, other, KEY, other]
    assert {window for _, window in reporter.asked} == {timedelta(days=2)}
