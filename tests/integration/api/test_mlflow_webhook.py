"""MLflow's own sender calls a real controller that has users."""

import pytest
from mlflow.entities.webhook import Webhook, WebhookAction, WebhookEntity, WebhookEvent
from mlflow.webhooks import delivery

from tests.support.harness import Controllers
from tests.support.tools import check_problem

SECRET = "w3bh00k-secret"
MOVED = WebhookEvent(WebhookEntity.MODEL_VERSION_ALIAS, WebhookAction.CREATED)


def test_mlflow_is_let_in_by_its_signature_alone(
    controllers: Controllers, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = controllers(PROXIES=2, MLFLOW_WEBHOOK_SECRET=SECRET).with_users().up()
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOWED_SCHEMES", "http")
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS", "true")
    for secret, status in ((SECRET, 204), ("another", 403), (None, 403)):
        webhook = Webhook("1", "it", f"{it.url}/mlflow/webhook", [MOVED], 0, 0, secret=secret)
        tested = delivery.test_webhook(webhook)
        assert (tested.response_status, tested.success) == (status, status == 204)
    big = it.call("POST", "/mlflow/webhook", auth=None, content=b"x" * 65537)
    assert check_problem(big)["status"] == 413
    assert "65536" in big.json()["detail"]
    fine = it.call("POST", "/mlflow/webhook", auth=None, content=b"x" * 65536)
    assert check_problem(fine)["status"] == 403
    assert SECRET not in it.logged() + it.logged_by_proxies()
