"""Makes reports from time to time, and tells when a verdict has become worse."""

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from model_deployment.core.errors import ModelDeploymentError
from model_deployment.core.names import ModelKey
from model_deployment.degradation.verdict_words import Verdict, words
from model_deployment.documents.base import StoreUnavailable
from model_deployment.reports.service import Reporter

_log = logging.getLogger(__name__)

_TIMEOUT = 10.0


class Webhook:
    """Tells another program, by a POST of JSON."""

    def __init__(self, url: str, *, private: bool) -> None:
        """Nothing is called yet.

        Args:
            url: ``http`` or ``https``; none if empty.
            private: whether it may be on this machine or in a private network.
        """
        self._url = url
        self._private = private

    async def call(self, message: Mapping[str, Any]) -> None:
        """Tell it. What goes wrong is logged, and nothing else is the worse for it."""
        if not self._url:
            return
        resolver = None if self._private else _PublicOnly()
        host = "?"
        try:
            host = urlsplit(self._url).hostname or "?"
            if not self._private:
                _refuse_private_literal(host)
            connector = aiohttp.TCPConnector(resolver=resolver, force_close=True)
            timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                # Redirects are not followed: the other end could send us anywhere.
                session.post(self._url, json=dict(message), allow_redirects=False) as answer,
            ):
                if answer.status >= 300:
                    _log.error("the webhook at %s answered %s", host, answer.status)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            # Not its text, which may hold the whole address, and there may be a secret in that.
            why = error.strerror if isinstance(error, OSError) and error.strerror else ""
            _log.error("cannot call the webhook at %s: %s %s", host, type(error).__name__, why)


class _PublicOnly(aiohttp.ThreadedResolver):
    """Finds addresses of the public internet only; looked up once, and connected to as found."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[Any]:
        found = await super().resolve(host, port, family)
        public = [one for one in found if ipaddress.ip_address(one["host"]).is_global]
        if not public:
            raise OSError(
                f"{host} is in a private network; MODEL_DEPLOYMENT_WEBHOOK_PRIVATE allows it"
            )
        return list(public)


def _refuse_private_literal(host: str) -> None:
    # An address is not looked up, so the resolver does not see it.
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return
    if not address.is_global:
        raise OSError(f"{host} is a private address; MODEL_DEPLOYMENT_WEBHOOK_PRIVATE allows it")


class Alarm:
    """What is done about a report."""

    def __init__(self, note: Callable[[ModelKey, str], None], webhook: Webhook) -> None:
        self._note = note
        self._webhook = webhook

    async def __call__(
        self, key: ModelKey, made: Mapping[str, Any], before: Mapping[str, Any] | None
    ) -> None:
        """Note an event, and call the webhook, of whatever has become worse since the report before.

        That is the verdict, or that callers have begun to send many wrong requests.
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
        self._note(key, f"report {made['_id']}: {now} ({past}). {headline}. {why}".strip())
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
    """Whether callers send many wrong requests; reports of earlier versions do not tell."""
    return bool(made["report"].get("refused", {}).get("many"))


def _reason(reasons: Sequence[Mapping[str, Any]], worse: bool) -> str:
    """The worst thing that a report found, of its verdict or of its callers."""
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
    """Make a report of each ready deployment, again and again.

    Args:
        every: seconds from one round to the next.
        window: how far back a report looks.
    """
    while True:
        await asyncio.sleep(every)
        try:
            keys = await ready()
        except Exception:
            _log.exception("cannot find out what is deployed")
            continue
        for key in keys:
            now = datetime.now(UTC)
            try:
                await reporter.wait(key, reporter.begin(key, now - window, now), 3600)
            except (StoreUnavailable, ModelDeploymentError, OSError) as error:
                _log.error("cannot make the report of %s: %s", key, error)
            except Exception:
                _log.exception("cannot make the report of %s", key)
