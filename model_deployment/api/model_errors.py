"""The call that shows which predictions a model failed to make, and why."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from model_deployment.api.examples import example
from model_deployment.api.monitoring import STORE_AWAY, Until
from model_deployment.api.parameters import Key
from model_deployment.api.problems import problem
from model_deployment.api.times import parse_moment
from model_deployment.api.unknown_parameters import StrictRoute
from model_deployment.control.controller import Controller
from model_deployment.core.launches import launches_of
from model_deployment.core.names import ModelKey
from model_deployment.core.users import Role, User
from model_deployment.credentials.access import USER
from model_deployment.metrics.model_errors import ErrorGroup, ModelErrors

#: Newest events of a deployment that are looked at for the ends of its processes.
_EVENTS = 500
_EXAMPLE: dict[str, Any] = {
    "exception": "ValueError",
    "message": "could not convert string to float: 'n/a'",
    "status": 502,
    "count": 39,
    "first_at": "2026-11-29T02:51:07.120Z",
    "last_at": "2026-11-29T03:04:55.310Z",
    "request_ids": ["b1946ac92492d2347c6235b4d2611184"],
    "launch_id": "3f6d0c1a9b2e",
    "traceback": 'Traceback (most recent call last):\n  File "model.py", line 12, in predict\n…',
}


class ErrorOut(BaseModel):
    """Predictions that failed with the same exception from the same place."""

    model_config = example(_EXAMPLE)

    exception: str = Field(
        description="Type of the exception; without an exception the title of the answer, such as "
        "`Model timed out`."
    )
    message: str = Field(
        description="Its message, of the newest failure. Empty for callers where the model wrote it, since "
        "it may repeat inputs, and where the deployment hides columns."
    )
    status: int = Field(description="Status of the answers, 500 or more.")
    count: int
    first_at: datetime
    last_at: datetime
    request_ids: list[str] = Field(
        description="The newest ones, at most 10; empty for callers who are no operators."
    )
    launch_id: str | None
    traceback: str | None = Field(
        description="At most 8,000 characters; null without one, and for callers."
    )

    @classmethod
    def of(cls, group: ErrorGroup, *, operator: bool) -> "ErrorOut":
        return cls(
            exception=group.exception,
            message=group.message if operator or group.ours else "",
            status=group.status,
            count=group.count,
            first_at=group.first_at,
            last_at=group.last_at,
            request_ids=[*group.request_ids] if operator else [],
            launch_id=group.launch_id,
            traceback=(group.traceback or None) if operator else None,
        )


@dataclass(frozen=True)
class ModelErrorCalls:
    """The handler, and what it uses."""

    controller: Controller
    errors: ModelErrors

    async def get_errors(
        self,
        request: Request,
        name: Key,
        since: Annotated[
            str,
            Query(
                description="From this time on: ISO 8601, or a duration before now such as `24h`."
            ),
        ] = "24h",
        until: Until = None,
        limit: Annotated[int, Query(ge=1, le=500, description="Number of groups.")] = 50,
        request_id: Annotated[
            str | None,
            Query(
                max_length=128,
                description="Only the failure of this request, of the last hour. It is known a second "
                "after its answer.",
            ),
        ] = None,
    ) -> Any:
        """Predictions without an answer that are not the caller's fault, grouped by what failed.

        Errors of callers (status 4xx) are not among them: `GET /model/{name}/metrics` counts both.
        """
        key = (await self.controller.get(ModelKey.parse(name))).key
        user: User | None = request.scope.get(USER)
        operator = user is not None and user.may(Role.OPERATOR)
        now = datetime.now(UTC)
        if request_id is not None:
            found = await self.errors.of_request(key, request_id)
            groups = [found] if found else []
        else:
            end = parse_moment(until, now) if until else now + timedelta(seconds=1)
            groups = await self.errors.groups(key, parse_moment(since, now), end, limit)
        ends = await self._ends(key) if any(one.broke for one in groups) else {}
        return [ErrorOut.of(_with_end(one, ends), operator=operator) for one in groups]

    async def _ends(self, key: ModelKey) -> dict[str, str]:
        """Why launches have ended, by their ids."""
        events = await self.controller.events(key, _EVENTS)
        return {one.launch_id: one.reason for one in launches_of(events) if one.ended_at}


def _with_end(group: ErrorGroup, ends: Mapping[str, str]) -> ErrorGroup:
    """What is known of the end of the process, where that is what failed."""
    end = ends.get(group.launch_id or "") if group.broke else None
    return replace(group, message=f"{group.message} ({end})") if end else group


def router(calls: ModelErrorCalls) -> APIRouter:
    """The route of the call."""
    routes = APIRouter(tags=["monitoring"], route_class=StrictRoute)
    routes.get(
        "/model/{name}/errors",
        summary="Predictions that the model failed to make, grouped by exception",
        response_model=list[ErrorOut],
        responses={404: problem("Not deployed"), 503: STORE_AWAY},
    )(calls.get_errors)
    return routes
