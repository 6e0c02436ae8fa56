"""Sounds the alarm when the verdict of a report has become worse, and tells when it is good again."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from model_deployment.alerts.alert import Alert, AlertKind
from model_deployment.alerts.webhook import Webhook
from model_deployment.core.names import ModelKey
from model_deployment.degradation.wording.verdict_words import Verdict, words


class Alarm:
    def __init__(self, write_event: Callable[[ModelKey, str], None], webhook: Webhook) -> None:
        self._write_event = write_event
        self._webhook = webhook

    async def __call__(
        self, key: ModelKey, made: Mapping[str, Any], before: Mapping[str, Any] | None
    ) -> None:
        """Write an event and call the webhook if something has changed since the report before.

        That is: the verdict is more severe, or `ok` after a severe one, or callers have begun to send many
        wrong requests.
        """
        was = str(before["verdict"]) if before else None
        now = str(made["verdict"])
        least = words(Verdict.OK).severity
        severe = words(was).severity if was else 0
        worse = words(now).severity > max(least, severe)
        wrong = _many_refused(made) and not (before and _many_refused(before))
        good = now == Verdict.OK and severe > least
        if worse:
            kind = AlertKind.VERDICT_WORSE
        elif wrong:
            kind = AlertKind.REQUESTS_REFUSED
        elif good:
            kind = AlertKind.VERDICT_RECOVERED
        else:
            return
        why = "" if good else _reason(made["report"].get("reasons") or [], worse)
        past = f"was {was}" if was else "the first report"
        headline = str(made.get("headline") or words(now).name)
        self._write_event(key, f"report {made['_id']}: {now} ({past}). {headline}. {why}".strip())
        details = {
            "report": made["_id"],
            "verdict": now,
            "previous": was,
            "headline": headline,
        }
        await self._webhook.call(Alert(kind, key, f"{key}: {headline}", why, details))


def _many_refused(made: Mapping[str, Any]) -> bool:
    """Whether callers send many wrong requests; reports of earlier releases do not say."""
    return bool(made["report"].get("refused", {}).get("many"))


def _reason(reasons: Sequence[Mapping[str, Any]], worse: bool) -> str:
    """The first bad finding of a report: about the model if ``worse``, else about the callers."""
    bad = [one for one in reasons if one.get("severity") != "good"]
    fitting = [one for one in bad if (one.get("code") != "refused") == worse]
    return next((str(one.get("message", ""))[:300] for one in fitting or bad), "")
