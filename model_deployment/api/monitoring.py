"""The calls for metrics and ground truth of deployments."""

import math
from dataclasses import dataclass
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

from model_deployment.api.monitoring_schemas import (
    ErasedOut,
    FeedbackOut,
    MetricsOut,
    SetMetricsOut,
)
from model_deployment.api.names import Names
from model_deployment.api.parameters import Key, KeyOrEndpoint, encodable
from model_deployment.api.problems import problem
from model_deployment.api.request_scope import ITEMS
from model_deployment.api.times import parse_moment
from model_deployment.api.unknown_parameters import StrictRoute
from model_deployment.control.controller import Controller
from model_deployment.core.errors import InvalidRequest, NotDeployed
from model_deployment.core.names import ModelKey
from model_deployment.documents.base import CapturedOn
from model_deployment.metrics.endpoint_feedback import EndpointFeedback
from model_deployment.metrics.endpoint_metrics import endpoint_metrics
from model_deployment.metrics.feedback import MAX_ITEMS, Feedback, Label
from model_deployment.metrics.service import Monitoring

Since = Annotated[
    str | None,
    Query(description="From this time on: ISO 8601, or a duration before now such as `24h`, `7d`."),
]
Until = Annotated[str | None, Query(description="Before this time, in the same forms.")]

#: Characters of a label.
_LONGEST_LABEL = 1000
STORE_AWAY = problem("The document store does not answer")


class MetricsIn(BaseModel):
    """Metrics that a caller measured."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"metrics": {"rmse": 61.2}, "n": 500, "window": "2026-11-01/2026-11-08"}]
        },
    )

    metrics: dict[
        Annotated[str, Field(min_length=1, max_length=250), AfterValidator(encodable)], float
    ] = Field(min_length=1, max_length=100)
    window: str | None = Field(
        None, max_length=200, description="The data that the metrics were measured on."
    )
    n: int | None = Field(
        None,
        ge=1,
        le=2**53,
        description="Rows that the metrics were measured on; without it no metric is called worse.",
    )
    note: str | None = Field(None, max_length=2000)


def _label(given: Any) -> Any:
    """Check a label. Pydantic alone would report one error for each type of the union.

    Raises:
        ValueError: the value cannot be a label.
    """
    if given is None:
        raise ValueError(
            "it is null. Leave the row out until its label is known, and send the label then"
        )
    if isinstance(given, str):
        if len(given) > _LONGEST_LABEL:
            raise ValueError(f"text may have at most {_LONGEST_LABEL} characters, got {len(given)}")
        return encodable(given)
    if isinstance(given, float) and not math.isfinite(given):
        raise ValueError("it is not a finite number. Leave the row out until its label is known")
    if isinstance(given, int) and not -(2**63) <= given < 2**63:
        raise ValueError(
            "it is a whole number of more than 64 bits, which the document store cannot store"
        )
    if not isinstance(given, bool | int | float):
        kind = "an object" if isinstance(given, dict) else "a list"
        raise ValueError(
            f"it must be a number, text, true or false, got {kind}. Each row has one label"
        )
    return given


class LabelIn(BaseModel):
    """The ground truth of one row."""

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
    """Ground truth of predictions."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"items": [{"request_id": "0b6e3c1a9f", "row": 0, "label": 131.0}]}]
        },
    )

    items: list[LabelIn] = Field(min_length=1, max_length=MAX_ITEMS)


@dataclass(frozen=True)
class MonitoringCalls:
    """The handlers, and what they use."""

    controller: Controller
    monitoring: Monitoring
    feedbacks: Feedback
    by_endpoint: EndpointFeedback
    names: Names

    async def get_metrics(
        self, name: KeyOrEndpoint, since: Since = "24h", until: Until = None
    ) -> dict[str, Any]:
        """Of an endpoint: those of the version that serves now, and the others in `versions`.

        `serving` then adds up the requests of all versions that it has served, also of callers that named
        a version, and each entry of `history` names its `version`.
        """
        found = await self.names.find(name)
        if found.endpoint is None:
            return await self.monitoring.metrics(found.key, *window(since, until))
        return await endpoint_metrics(
            self.monitoring, str(found), found.key, found.keys, *window(since, until)
        )

    async def set_new_metrics(self, name: Key, body: MetricsIn) -> dict[str, Any]:
        """The metrics become the current ones, and are compared with the baseline as in a report.

        `verdict` is `ok`, `worse` (in this window), `degraded` (in two windows in a row),
        `insufficient_data` (fewer than 30 rows, or no `n`), or `no_reference`; `worse` and `degraded` are
        null in the last two.
        """
        key = (await self.controller.get(ModelKey.parse(name))).key
        return await self.monitoring.set_metrics(
            key, body.metrics, window=body.window, n=body.n, note=body.note
        )

    async def feedback(
        self, request: Request, name: KeyOrEndpoint, body: FeedbackIn
    ) -> dict[str, Any]:
        """Labels may come late. Sending a label again changes nothing.

        Of an endpoint: each label goes to the version that answered its request, and `versions` has the
        answer for each version. A label of a request that is not captured is not stored then.
        """
        found = await self.names.find(name)
        request.scope[ITEMS] = len(body.items)
        items = [Label(item.request_id, item.row, item.label) for item in body.items]
        if found.endpoint is None:
            return await self.feedbacks.add(found.key, items)
        return await self.by_endpoint.add(str(found), found.keys, items)

    async def erase(
        self,
        name: KeyOrEndpoint,
        request_id: Annotated[str, Query(min_length=1, max_length=128)],
    ) -> dict[str, int]:
        """Of an endpoint: whichever of its versions answered the request. Also what devices captured of
        it; of a version that is not deployed here, too.
        """
        try:
            keys = (await self.names.find(name)).keys
        except NotDeployed:
            keys = (await self.names.version(name, CapturedOn.DEVICES),)
        erased = [await self.monitoring.erase(key, request_id) for key in keys]
        return {"erased": sum(erased)}


def router(calls: MonitoringCalls) -> APIRouter:
    routes = APIRouter(tags=["monitoring"], route_class=StrictRoute)
    responses: dict[int | str, dict[str, Any]] = {404: problem("Not deployed"), 503: STORE_AWAY}
    one = "/model/{name}"
    for method, path, handler, summary, status, answer in (
        ("GET", f"{one}/metrics", calls.get_metrics, "Baseline, current metrics, request counters", 200,
         MetricsOut),
        ("POST", f"{one}/set_new_metrics", calls.set_new_metrics, "Store metrics that you measured", 201,
         SetMetricsOut),
        ("POST", f"{one}/feedback", calls.feedback, "Store the ground truth of predictions", 200,
         FeedbackOut),
        ("DELETE", f"{one}/captures", calls.erase, "Delete the capture of a request", 200, ErasedOut),
    ):  # fmt: skip
        routes.add_api_route(
            path,
            handler,
            methods=[method],
            summary=summary,
            status_code=status,
            response_model=answer,
            # What is said of endpoints alone is left out of the answer for a version.
            response_model_exclude_unset=True,
            responses=responses,
        )
    return routes


def window(since: str | None, until: str | None) -> tuple[datetime, datetime]:
    """Start and end of a window in a query; without ``since`` it starts in 1970.

    Raises:
        InvalidRequest: a time has none of the known forms, or the window ends before it starts.
    """
    now = datetime.now(UTC)
    end = parse_moment(until, now) if until else now + timedelta(seconds=1)
    begin = parse_moment(since, now) if since else datetime.fromtimestamp(0, UTC)
    if begin >= end:
        raise InvalidRequest("cannot use this window: `since` has to be before `until`")
    return begin, end
