"""The forms in which the webhook posts an alert. Pure."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from model_deployment.alerts.alert import ENDS, Alert, AlertKind

#: How long Alertmanager shows a bad alert whose end nobody tells: it is posted once.
_SHOWN = timedelta(days=1)
_SEVERITIES = {
    AlertKind.DEPLOYMENT_FAILED: "critical",
    AlertKind.VERDICT_WORSE: "warning",
    AlertKind.REQUESTS_REFUSED: "warning",
    AlertKind.ROLLOUT_ROLLED_BACK: "warning",
    AlertKind.RELEASE_STOPPED: "warning",
    AlertKind.FLOW_RUN_FAILED: "warning",
}


class WebhookFormat(StrEnum):
    JSON = "json"  # our own, with all that is known
    SLACK = "slack"  # {"text": …}: Slack, Mattermost, Rocket.Chat
    ALERTMANAGER = "alertmanager"  # POST /api/v2/alerts of Prometheus' Alertmanager


def body(alert: Alert, format: WebhookFormat) -> Any:
    """What is posted, JSON-ready."""
    return _FORMATS[format](alert)


def _json(alert: Alert) -> dict[str, Any]:
    return {
        "event": str(alert.kind),
        **({"model": alert.key.model, "version": alert.key.version} if alert.key else {}),
        "at": _spelled(alert.at),
        "summary": alert.summary,
        "reason": alert.reason,
        **alert.details,
    }


def _slack(alert: Alert) -> dict[str, str]:
    """Incoming webhooks of Slack, whose control characters are ``&``, ``<`` and ``>``."""
    mark = "\N{WHITE HEAVY CHECK MARK}" if alert.is_good else "\N{LARGE RED CIRCLE}"
    lines = [f"{mark} {alert.summary}", *([alert.reason] if alert.reason else [])]
    text = "\n".join(lines).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": text}


def _alertmanager(alert: Alert) -> list[dict[str, Any]]:
    """Alerts of Alertmanager's API, version 2. Good news ends the bad alert with the same labels."""
    bad = ENDS.get(alert.kind, alert.kind)
    labels = {
        "alertname": "".join(word.capitalize() for word in str(bad).split("_")),
        **_subject(alert),
        "severity": _SEVERITIES[bad],
    }
    return [
        {
            "labels": labels,
            "annotations": {"summary": alert.summary, "description": alert.reason},
            "startsAt": _spelled(alert.at),
            "endsAt": _spelled(alert.at if alert.is_good else alert.at + _SHOWN),
        }
    ]


def _subject(alert: Alert) -> dict[str, str]:
    """Labels that name what an alert is about, alike for bad and good news of it."""
    if alert.key is None:
        return {name: str(alert.details[name]) for name in ("flow", "experiment")}
    endpoint = alert.details.get("endpoint")
    if project := alert.details.get("project"):
        # Not the model: a release of another one ends what was bad as well.
        return {"project": str(project)}
    # The version that an endpoint went back from is not the one that is promoted later.
    more = {"endpoint": str(endpoint)} if endpoint else {"version": str(alert.key.version)}
    return {"model": alert.key.model, **more}


def _spelled(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


_FORMATS: Mapping[WebhookFormat, Callable[[Alert], Any]] = {
    WebhookFormat.JSON: _json,
    WebhookFormat.SLACK: _slack,
    WebhookFormat.ALERTMANAGER: _alertmanager,
}
