"""The webhook: what it posts in which form, and which hosts it may call."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from model_deployment.alerts.alert import ENDS, Alert, AlertKind
from model_deployment.alerts.formats import WebhookFormat, body
from model_deployment.alerts.webhook import Webhook
from model_deployment.core.names import ModelKey
from tests.support.cases import each

KEY = ModelKey("iris", 1)
ALERT = Alert(
    AlertKind.VERDICT_WORSE, KEY, "iris-1: <drift> & more", "2 of 4 columns", {"verdict": "drift"},
    datetime(2026, 1, 31, 12, tzinfo=UTC),
)  # fmt: skip


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
    await Webhook(url, private=True).call(ALERT)
    assert got == [body(ALERT, WebhookFormat.JSON)]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "169.254.169.254"])
async def test_webhook_refuses_private_networks(
    server: tuple[str, list[Any]], host: str, caplog: pytest.LogCaptureFixture
) -> None:
    url, got = server
    await Webhook(url.replace("127.0.0.1", host), private=False).call(ALERT)
    assert not got
    assert "cannot call the webhook" in caplog.text


async def test_webhook_without_a_url_posts_nothing() -> None:
    await Webhook("", private=False).call(ALERT)


async def test_webhook_away_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    await Webhook("http://127.0.0.1:9/", private=True).call(ALERT)
    assert "cannot call the webhook" in caplog.text


def test_our_own_form_has_all_that_is_known() -> None:
    assert body(ALERT, WebhookFormat.JSON) == {
        "event": "verdict_worse", "model": "iris", "version": 1, "at": "2026-01-31T12:00:00Z",
        "summary": ALERT.summary, "reason": "2 of 4 columns", "verdict": "drift",
    }  # fmt: skip


def test_slack_gets_a_text_in_which_nothing_is_markup() -> None:
    found = body(ALERT, WebhookFormat.SLACK)
    assert found.keys() == {"text"}
    assert "iris-1: &lt;drift&gt; &amp; more\n2 of 4 columns" in found["text"]


@pytest.mark.parametrize("good", ENDS)
def test_good_news_ends_the_alert_of_alertmanager_that_bad_news_began(good: AlertKind) -> None:
    subjects = {"rollout": {"endpoint": "iris@champion"}, "release": {"project": "halls"}}
    details = subjects.get(good.partition("_")[0], {})
    began = datetime(2026, 1, 31, 11, tzinfo=UTC)
    later = datetime(2026, 1, 31, 12, tzinfo=UTC)
    [bad] = body(Alert(ENDS[good], KEY, "bad", "", details, began), WebhookFormat.ALERTMANAGER)
    # The version that serves, or runs on devices, after a rollback is another one.
    key = ModelKey("iris", 2) if details else KEY
    [end] = body(Alert(good, key, "good", "", details, later), WebhookFormat.ALERTMANAGER)
    assert bad["labels"] == end["labels"]
    assert all(isinstance(value, str) for value in bad["labels"].values())
    assert bad["startsAt"] < bad["endsAt"]
    assert end["endsAt"] == "2026-01-31T12:00:00Z"


@each("kind", AlertKind)
@pytest.mark.parametrize("form", WebhookFormat)
def test_every_alert_has_every_form(kind: AlertKind, form: WebhookFormat) -> None:
    assert body(Alert(kind, KEY, "summary"), form)
