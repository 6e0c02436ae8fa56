"""Makes reports on a schedule, and sounds the alarm when a verdict has become worse."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from model_deployment.core.errors import ModelDeploymentError
from model_deployment.core.names import ModelKey
from model_deployment.degradation.wording.verdict_words import Verdict, words
from model_deployment.documents.base import StoreUnavailable
from model_deployment.reports.service import Reporter
from model_deployment.reports.webhook import Webhook

_log = logging.getLogger(__name__)


class Alarm:
    def __init__(self, write_event: Callable[[ModelKey, str], None], webhook: Webhook) -> None:
        self._write_event = write_event
        self._webhook = webhook

    async def __call__(
        self, key: ModelKey, made: Mapping[str, Any], before: Mapping[str, Any] | None
    ) -> None:
        """Write an event and call the webhook if something has become worse since the report before.

        That is: the verdict is more severe, or callers have begun to send many wrong requests.
        """
        was = str(before["verdict"]) if before else None
        now = str(made["verdict"])
        least = words(Verdict.OK).severity
        worse = words(now).severity > max(least, words(was).severity if was else 0)
        wrong = _many_refused(made) and not (before and _many_refused(before))
        if not worse and not wrong:
            return
        why = _reason(made["report"].get("reasons") or [], worse)
        past = f"was {was}" if was else "the first report"
        headline = str(made.get("headline") or words(now).name)
        self._write_event(key, f"report {made['_id']}: {now} ({past}). {headline}. {why}".strip())
        await self._webhook.call(
            {
                "model": key.model,
                "version": key.version,
                "report": made["_id"],
                "verdict": now,
                "previous": was,
                "headline": headline,
                "reason": why,
            }
        )


def _many_refused(made: Mapping[str, Any]) -> bool:
    """Whether callers send many wrong requests; reports of earlier releases do not say."""
    return bool(made["report"].get("refused", {}).get("many"))


def _reason(reasons: Sequence[Mapping[str, Any]], worse: bool) -> str:
    """The first bad finding of a report: about the model if ``worse``, else about the callers."""
    bad = [one for one in reasons if one.get("severity") != "good"]
    fitting = [one for one in bad if (one.get("code") != "refused") == worse]
    return next((str(one.get("message", ""))[:300] for one in fitting or bad), "")


async def run(
    reporter: Reporter,
    ready: Callable[[], Awaitable[Sequence[ModelKey]]],
    *,
    every: float,
    window: timedelta,
) -> None:
    """Make a report of each ready deployment, round after round, until cancelled.

    Args:
        every: seconds from one round to the next.
        window: how far back a report looks.
    """
    while True:
        await asyncio.sleep(every)
        try:
            keys = await ready()
        except Exception:
            _log.exception("cannot list the deployments")
            continue
        for key in keys:
            now = datetime.now(UTC)
            try:
                await reporter.wait(key, reporter.begin(key, now - window, now), 3600)
            except (StoreUnavailable, ModelDeploymentError, OSError) as error:
                _log.error("cannot make the report of %s: %s", key, error)
            except Exception:
                _log.exception("cannot make the report of %s", key)
