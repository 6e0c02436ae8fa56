"""Calls of MLflow's webhooks, signed by MLflow's own code."""

import time
from typing import Any

import pytest
from mlflow.entities.webhook import Webhook, WebhookAction, WebhookEntity, WebhookEvent
from mlflow.webhooks import delivery
from mlflow.webhooks.types import get_example_payload_for_event

from model_deployment.api.mlflow_webhook import TOLERANCE, MlflowWebhook
from model_deployment.core.errors import Forbidden, InvalidRequest, NotFound

SECRET = "a secret with an ü"
MOVED = WebhookEvent(WebhookEntity.MODEL_VERSION_ALIAS, WebhookAction.CREATED)


class Sender:
    """In the place of MLflow's HTTP session: keeps what would be sent."""

    def post(self, url: str, data: bytes, headers: dict[str, str], timeout: float) -> None:
        self.body = data
        self.headers = {name.lower(): value for name, value in headers.items()}


class Looks:
    def __init__(self, secret: str = SECRET, ahead: float = 0) -> None:
        self.count = 0
        self.webhook = MlflowWebhook(secret, self._look, lambda: time.time() + ahead)

    def _look(self) -> None:
        self.count += 1


def sent(event: WebhookEvent = MOVED, secret: str | None = SECRET) -> Sender:
    sender: Any = Sender()
    webhook = Webhook("1", "name", "http://192.0.2.1/", [event], 0, 0, secret=secret)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delivery, "_validate_webhook_url", lambda url: None)
        payload = get_example_payload_for_event(event)
        delivery._send_webhook_request(webhook, payload, event, sender)
    assert isinstance(sender, Sender)
    return sender


@pytest.mark.parametrize(
    ("entity", "action", "looks"),
    [
        (WebhookEntity.MODEL_VERSION_ALIAS, WebhookAction.CREATED, 1),
        (WebhookEntity.MODEL_VERSION_ALIAS, WebhookAction.DELETED, 1),
        (WebhookEntity.MODEL_VERSION, WebhookAction.CREATED, 1),
        (WebhookEntity.MODEL_VERSION_TAG, WebhookAction.SET, 1),
        (WebhookEntity.REGISTERED_MODEL, WebhookAction.CREATED, 1),
        (WebhookEntity.PROMPT, WebhookAction.CREATED, 0),
    ],
)
def test_events_of_models_have_the_aliases_looked_at(
    entity: WebhookEntity, action: WebhookAction, looks: int
) -> None:
    found, call = Looks(), sent(WebhookEvent(entity, action))
    found.webhook.take(call.headers, call.body)
    assert found.count == looks


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-mlflow-signature", "v1,"),
        ("x-mlflow-signature", ""),
        ("x-mlflow-signature", "v1,\xe9"),
        ("x-mlflow-signature", None),
        ("x-mlflow-timestamp", "1000"),
        ("x-mlflow-timestamp", None),
        ("x-mlflow-delivery-id", "another"),
        ("body", "{}"),
    ],
)
def test_what_is_not_as_it_was_signed_is_refused(header: str, value: str | None) -> None:
    found, call = Looks(), sent()
    call.headers.pop(header, None)
    if value is not None:
        call.headers[header] = value
    with pytest.raises(Forbidden, match="signature"):
        found.webhook.take(call.headers, b"{}" if header == "body" else call.body)
    assert not found.count


def test_a_call_is_refused_without_the_secret_and_with_another_one() -> None:
    call = sent(secret=None)
    with pytest.raises(Forbidden, match="MODEL_DEPLOYMENT_MLFLOW_WEBHOOK_SECRET"):
        Looks().webhook.take(call.headers, call.body)
    call = sent(secret="another")
    with pytest.raises(Forbidden, match="signature"):
        Looks().webhook.take(call.headers, call.body)
    call = sent(secret="")
    with pytest.raises(NotFound, match="no secret is set"):
        Looks(secret="").webhook.take(call.headers, call.body)


def test_a_call_is_good_for_five_minutes() -> None:
    call = sent()
    for ahead, good in ((TOLERANCE - 2, True), (2 - TOLERANCE, True), (302, False), (-302, False)):
        found = Looks(ahead=ahead)
        if good:
            found.webhook.take(call.headers, call.body)
        else:
            with pytest.raises(Forbidden, match="more than 300 s ago"):
                found.webhook.take(call.headers, call.body)
        assert found.count == good


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"entity": 1}', "\xff"])
def test_what_is_no_event_is_refused(body: str) -> None:
    found, now, content = Looks(), str(int(time.time())), body.encode("latin-1")
    signature = delivery._generate_hmac_signature(SECRET, "id", now, body)
    if body == "\xff":
        content = body.encode()
    headers = {
        "x-mlflow-signature": signature,
        "x-mlflow-timestamp": now,
        "x-mlflow-delivery-id": "id",
    }
    with pytest.raises(InvalidRequest, match="cannot read the event"):
        found.webhook.take(headers, content)
    assert not found.count
    assert SECRET not in repr(found.webhook)
