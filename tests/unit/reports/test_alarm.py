"""When the alarm of a report sounds, and what it says."""

from collections.abc import Mapping
from typing import Any, cast

import pytest

from model_deployment.alerts.alert import Alert
from model_deployment.alerts.formats import WebhookFormat, body
from model_deployment.alerts.webhook import Webhook
from model_deployment.core.names import ModelKey
from model_deployment.reports.alarm import Alarm

KEY = ModelKey("iris", 1)


def made(verdict: str, message: str = "Column “a” has moved.") -> dict[str, Any]:
    return {"_id": "r1", "verdict": verdict, "report": {"reasons": [{"message": message}]}}


class FakeWebhook:
    """What an alarm has done."""

    def __init__(self) -> None:
        self.notes: list[tuple[ModelKey, str]] = []
        self.calls: list[Mapping[str, Any]] = []

    async def call(self, alert: Alert) -> None:
        self.calls.append(body(alert, WebhookFormat.JSON))

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
    [(None, "ok"), ("drift", "drift"), ("degraded", "drift"), ("degraded", "error"), ("ok", "ok"),
     ("ok", "insufficient_data"), (None, "no_reference"), ("no_reference", "ok")],
)  # fmt: skip
async def test_alarm_stays_silent_for_other_verdicts(before: str | None, now: str) -> None:
    fake = FakeWebhook()
    await fake.alarm()(KEY, made(now), made(before) if before else None)
    assert not fake.notes
    assert not fake.calls


@pytest.mark.parametrize("before", ["drift", "degraded", "error"])
async def test_alarm_tells_that_a_verdict_is_good_again(before: str) -> None:
    fake = FakeWebhook()
    await fake.alarm()(KEY, made("ok"), made(before))
    [message] = fake.calls
    assert (message["event"], message["verdict"], message["reason"]) == (
        "verdict_recovered",
        "ok",
        "",
    )
    assert f"ok (was {before})" in fake.notes[0][1]


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
