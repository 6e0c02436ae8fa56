"""The call that MLflow's webhooks make when something changes in the registry.

It needs no password: MLflow signs what it sends, as ``mlflow/webhooks/delivery.py`` does it (after the
Standard Webhooks specification): HMAC-SHA256 of ``<delivery id>.<timestamp>.<body>``. A call that is sent
again does no harm, as a look at the aliases changes nothing by itself.
"""

import base64
import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fastapi import APIRouter, Request, Response

from model_deployment.api.problems import problem
from model_deployment.core.errors import Forbidden, InvalidRequest, NotFound
from model_deployment.gate import MalformedJson, loads

_log = logging.getLogger(__name__)

_SIGNATURE, _TIMESTAMP, _ID = "x-mlflow-signature", "x-mlflow-timestamp", "x-mlflow-delivery-id"
_VERSION = "v1"
#: Seconds that the clocks may differ, the way of the call included.
TOLERANCE = 300
#: Entities of events, of which any may tell of an alias.
_ENTITIES = frozenset({
    "registered_model", "model_version", "model_version_tag", "model_version_alias",
})  # fmt: skip
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "object"},
                "examples": {
                    "an alias": {
                        "value": {
                            "entity": "model_version_alias",
                            "action": "created",
                            "timestamp": "2026-11-29T12:00:00+00:00",
                            "data": {"name": "diabetes", "alias": "champion", "version": "2"},
                        }
                    }
                },
            }
        },
    },
    "parameters": [
        {"name": name, "in": "header", "required": False, "schema": {"type": "string"}, "description": text}
        for name, text in (
            ("X-MLflow-Signature", "`v1,` and the signature in base64."),
            ("X-MLflow-Timestamp", "Seconds since 1970, at most 5 minutes ago."),
            ("X-MLflow-Delivery-Id", "Part of what is signed."),
        )
    ],
}  # fmt: skip


@dataclass(frozen=True)
class MlflowWebhook:
    """Checks calls, and has the aliases looked at."""

    #: What MLflow signs with; empty: all calls are refused.
    secret: str = field(repr=False)
    #: Has the aliases looked at, soon.
    look: Callable[[], None]
    #: Seconds since 1970.
    clock: Callable[[], float] = time.time

    def take(self, headers: Mapping[str, str], body: bytes) -> None:
        """Check one call, and do what it is for.

        Args:
            headers: by their names in lower case.

        Raises:
            NotFound: there is no secret, so there is no webhook.
            Forbidden: the signature is wrong, or the call is too old.
            InvalidRequest: the body is not an event.
        """
        if not self.secret:
            raise NotFound(
                "cannot take calls of MLflow: no secret is set (MODEL_DEPLOYMENT_MLFLOW_WEBHOOK_SECRET); "
                "set the secret of the webhook in MLflow"
            )
        self._check(headers, body)
        try:
            event = loads(body)
        except MalformedJson as error:
            raise InvalidRequest(f"cannot read the event: {error}") from None
        entity = event.get("entity") if isinstance(event, dict) else None
        if not isinstance(entity, str):
            raise InvalidRequest("cannot read the event: it names no entity")
        if entity in _ENTITIES:
            _log.info("MLflow says that a %s has changed", entity)
            self.look()

    def _check(self, headers: Mapping[str, str], body: bytes) -> None:
        id, moment, given = (headers.get(name, "") for name in (_ID, _TIMESTAMP, _SIGNATURE))
        # latin-1, as headers are read: the same bytes that came.
        signed = b".".join((id.encode("latin-1"), moment.encode("latin-1"), body))
        digest = hmac.digest(self.secret.encode(), signed, hashlib.sha256)
        ours = f"{_VERSION},{base64.b64encode(digest).decode()}"
        if not hmac.compare_digest(ours.encode(), given.encode("latin-1")):
            raise Forbidden(
                "cannot accept the call: its signature (X-MLflow-Signature) is not one of the secret in "
                "MODEL_DEPLOYMENT_MLFLOW_WEBHOOK_SECRET"
            )
        if not (moment.isascii() and moment.isdigit() and len(moment) < 16):
            raise Forbidden("cannot accept the call: X-MLflow-Timestamp is not a number of seconds")
        if abs(self.clock() - int(moment)) > TOLERANCE:
            raise Forbidden(
                f"cannot accept the call: it was signed more than {TOLERANCE} s ago, or the clocks of "
                "MLflow and of this machine differ by more"
            )


def router(webhook: MlflowWebhook) -> APIRouter:
    routes = APIRouter(tags=["registry"])

    @routes.post(
        "/mlflow/webhook",
        summary="MLflow says that its registry has changed",
        status_code=204,
        responses={
            403: problem("The signature is wrong, or the call is too old"),
            404: problem("No secret is set"),
            422: problem("The body is not an event of MLflow"),
        },
        openapi_extra=_BODY,
    )
    async def mlflow_webhook(request: Request) -> Response:
        """Endpoints look at their aliases at once, and not with the next poll.

        Instead of a password it needs a signature, as the webhooks of MLflow sign. Create the webhook with
        `MlflowClient().create_webhook(..., secret=...)`, and set `MODEL_DEPLOYMENT_MLFLOW_WEBHOOK_SECRET`.
        The body may have 65536 bytes.
        """
        webhook.take(request.headers, await request.body())
        return Response(status_code=204)

    return routes
