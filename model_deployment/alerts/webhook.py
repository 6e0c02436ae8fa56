"""Posts alerts to a URL of the operator."""

import ipaddress
import logging
import socket
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from model_deployment.alerts.alert import Alert
from model_deployment.alerts.formats import WebhookFormat, body

_log = logging.getLogger(__name__)

_TIMEOUT = 10.0


class Webhook:
    def __init__(
        self, url: str, *, private: bool, format: WebhookFormat = WebhookFormat.JSON
    ) -> None:
        """Remember where to post.

        Args:
            url: ``http`` or ``https``; nothing is posted if empty.
            private: whether the URL may lead to this machine or a private network.
        """
        self._url = url
        self._private = private
        self._format = format

    async def call(self, alert: Alert) -> None:
        """Post an alert. Failures are logged and not raised."""
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
                # Redirects are not followed: they could lead into the private network.
                session.post(
                    self._url, json=body(alert, self._format), allow_redirects=False
                ) as answer,
            ):
                if answer.status >= 300:
                    _log.error("the webhook at %s answered %s", host, answer.status)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            # Not the error's text: it may hold the whole URL, and with it a secret.
            why = error.strerror if isinstance(error, OSError) and error.strerror else ""
            _log.error("cannot call the webhook at %s: %s %s", host, type(error).__name__, why)


class _PublicOnly(aiohttp.ThreadedResolver):
    """Resolves to public addresses only. The connection is made to the addresses that were checked."""

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
    # A literal address is not resolved, so the resolver does not see it.
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return
    if not address.is_global:
        raise OSError(f"{host} is a private address; MODEL_DEPLOYMENT_WEBHOOK_PRIVATE allows it")
