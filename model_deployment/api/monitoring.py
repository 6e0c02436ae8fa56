"""What is known of how a model does: metrics, and late ground truth."""

import math
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import (
    AfterValidator,
    AllowInfNan,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
)

from model_deployment.api.deployments import problem
from model_deployment.api.parameters import Key, ModelName, encodable
from model_deployment.api.request_scope import ITEMS
from model_deployment.api.times import parse_moment
from model_deployment.api.unknown_parameters import StrictRoute
from model_deployment.control.controller import Controller
from model_deployment.core.errors import InvalidRequest
from model_deployment.core.names import ModelKey
from model_deployment.metrics.feedback import MAX_ITEMS, Feedback, Label
from model_deployment.metrics.service import Monitoring

Since = Annotated[
    str | None, Query(description="From then on: an ISO 8601 time, or `24h`, `7d` before now.")
]
Until = Annotated[str | None, Query(description="Until then, exclusive, in the same forms.")]

#: Characters of a label that is a text.
_LONGEST_LABEL = 1000
#: An answer in the API's description.
STORE_AWAY = problem("The document store does not answer")


class MetricsIn(BaseModel):
    """Metrics that somebody measured."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"metrics": {"rmse": 61.2}, "n": 500, "window": "2026-11-01/2026-11-08"}]
        },
    )

    metrics: dict[
        Annotated[str, Field(min_length=1, max_length=250), AfterValidator(encodable)], float
    ] = Field(min_length=1, max_length=100)
    window: str | None = Field(None, max_length=200, description="What they were measured on.")
    n: int | None = Field(
        None,
        ge=1,
        le=2**53,
        description="Rows they were measured on; where nobody knows, nothing is called worse.",
    )
    note: str | None = Field(None, max_length=2000)


def _label(given: Any) -> Any:
    """One message for what is no label, in place of one for each type that it is not.

    Raises:
        ValueError: it is none.
    """
    if given is None:
        raise ValueError(
            "it is null, which is no truth. Leave the row out until its truth is known, and send it then"
        )
    if isinstance(given, str):
        if len(given) > _LONGEST_LABEL:
            raise ValueError(f"a text has at most {_LONGEST_LABEL} characters, got {len(given)}")
        return encodable(given)
    if isinstance(given, float) and not math.isfinite(given):
        raise ValueError("it is no finite number. Leave the row out until its truth is known")
    if isinstance(given, int) and not -(2**63) <= given < 2**63:
        raise ValueError("it is a whole number of more than 64 bits, which no store keeps exactly")
    if not isinstance(given, bool | int | float):
        kind = "an object" if isinstance(given, dict) else "a list"
        raise ValueError(
            f"it has to be a number, a text, true or false, got {kind}. Each row has one label"
        )
    return given


class LabelIn(BaseModel):
    """The truth about one row."""

    model_config = ConfigDict(extra="forbid")

    request_id: str = Field(
        min_length=1, max_length=128, description="`X-Request-Id` of the prediction's answer."
    )
    row: int = Field(0, ge=0, le=10_000_000)
    label: Annotated[
        bool
        | Annotated[int, Field(ge=-(2**63), lt=2**63)]
        | Annotated[float, AllowInfNan(False)]
        | Annotated[str, Field(max_length=_LONGEST_LABEL)],
        BeforeValidator(_label),
    ]


class FeedbackIn(BaseModel):
    """Late ground truth."""

    model_config = ConfigDict(extra="forbid")

    items: list[LabelIn] = Field(min_length=1, max_length=MAX_ITEMS)


def router(controller: Controller, monitoring: Monitoring, feedbacks: Feedback) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["monitoring"], route_class=StrictRoute)

    async def deployed(name: str) -> ModelKey:
        return (await controller.get(ModelKey.parse(name))).key

    @routes.get(
        "/model/{name}/metrics",
        summary="Baseline, current metrics, and what was served",
        responses={404: problem("Not deployed"), 503: STORE_AWAY},
    )
    async def get_metrics(name: Key, since: Since = "24h", until: Until = None) -> dict[str, Any]:
        key = await deployed(name)
        return await monitoring.metrics(key, *window(since, until))

    @routes.post(
        "/model/{name}/set_new_metrics",
        summary="Note metrics that you measured",
        status_code=201,
        responses={404: problem("Not deployed"), 503: STORE_AWAY},
    )
    async def set_new_metrics(name: Key, body: MetricsIn) -> dict[str, Any]:
        """They become the current ones, and are judged beside the baseline as a report does it.

        `verdict` is `ok`, `worse` (in this window), `degraded` (in two running), `insufficient_data` (fewer
        than 30 rows, or no `n`), or `no_reference`; `worse` and `degraded` are null in the last two.
        """
        key = await deployed(name)
        return await monitoring.set_metrics(
            key, body.metrics, window=body.window, n=body.n, note=body.note
        )

    @routes.post(
        "/model/{name}/feedback",
        summary="Tell what the truth turned out to be",
        responses={404: problem("Not deployed"), 503: STORE_AWAY},
    )
    async def feedback(request: Request, name: Key, body: FeedbackIn) -> dict[str, Any]:
        """Late is normal, and the same again changes nothing."""
        key = await deployed(name)
        request.scope[ITEMS] = len(body.items)
        items = [Label(item.request_id, item.row, item.label) for item in body.items]
        return await feedbacks.add(key, items)

    @routes.delete(
        "/model/{name}/captures",
        summary="Forget what was captured of a request",
        responses={404: problem("Not deployed"), 503: STORE_AWAY},
    )
    async def erase(
        name: Key, request_id: Annotated[str, Query(min_length=1, max_length=128)]
    ) -> dict[str, int]:
        return {"erased": await monitoring.erase(await deployed(name), request_id)}

    @routes.get(
        "/compare/{model}",
        summary="Metrics of versions side by side",
        responses={404: problem("Not deployed"), 503: STORE_AWAY},
    )
    async def compare(
        model: ModelName,
        versions: Annotated[str, Query(description="Such as `1,2`.", max_length=200)],
    ) -> dict[str, Any]:
        keys = [ModelKey.addressed(model, text.strip()) for text in versions.split(",")]
        if not 1 <= len(set(keys)) == len(keys) <= 10:
            raise InvalidRequest("cannot compare: name up to ten versions, each once")
        for key in keys:
            await controller.get(key)
        return await monitoring.compare(model, [key.version for key in keys])

    return routes


def window(since: str | None, until: str | None) -> tuple[datetime, datetime]:
    """From when until when, as callers say it."""
    now = datetime.now(UTC)
    end = parse_moment(until, now) if until else now + timedelta(seconds=1)
    return parse_moment(since, now) if since else datetime.fromtimestamp(0, UTC), end
