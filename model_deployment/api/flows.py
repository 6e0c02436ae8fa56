"""The calls that run flows, and show their runs."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from model_deployment.api.flow_schemas import (
    FlowLogLineOut,
    FlowMonitoringOut,
    FlowRunOut,
    FlowRunSummaryOut,
    RunFlowIn,
)
from model_deployment.api.paging import After, next_page
from model_deployment.api.problems import problem
from model_deployment.api.request_scope import user_name
from model_deployment.api.unknown_parameters import StrictRoute
from model_deployment.core.errors import InvalidRequest
from model_deployment.core.users import Role, User
from model_deployment.credentials.access import USER
from model_deployment.flows.base import FlowState, FlowType
from model_deployment.flows.records import Record
from model_deployment.flows.runs import FlowRuns

_NO_PROJECT = problem("No project of flows is set")
_UNKNOWN = problem("There is no such run")
_AWAY = problem("The service of flows does not answer")
_REFUSED = problem("An unknown experiment or parameter, or a value that is not allowed")

FlowTypePath = Annotated[
    str,
    Path(
        description=f"One of {', '.join(f'`{one}`' for one in FlowType)}.", examples=["full_flow"]
    ),
]
RunId = Annotated[
    str,
    Path(
        description="Id of the request or of Prefect's run.",
        max_length=80,
        examples=["20260131T120000-0a1b2c3d"],
    ),
]


def router(runs: FlowRuns) -> APIRouter:
    routes = APIRouter(tags=["flows"], route_class=StrictRoute)
    _add_changes(routes, runs)
    _add_lists(routes, runs)
    _add_reading(routes, runs)
    return routes


def _add_changes(routes: APIRouter, runs: FlowRuns) -> None:
    @routes.post(
        "/api/run_flow/{flow_type}",
        summary="Run a flow",
        status_code=202,
        response_model=FlowRunOut,
        responses={404: _NO_PROJECT, 422: _REFUSED, 507: problem("The disk is full")},
    )
    async def run_flow(
        flow_type: FlowTypePath, body: RunFlowIn, request: Request, response: Response
    ) -> Any:
        """The run is kept before the answer, and begins when its turn comes: one run at a time.

        The service of flows is started with the first run, which takes half a minute.
        """
        record = await runs.request(
            flow_type,
            experiment=body.experiment,
            by=user_name(request.scope),
            data=body.data,
            parameters=body.given(),
        )
        response.headers["Location"] = record.place
        return _out(runs, record, request)

    @routes.post(
        "/api/flow-runs/{id}/cancel",
        summary="Cancel a run",
        response_model=FlowRunOut,
        responses={404: _UNKNOWN, 409: problem("The run has ended"), 503: _AWAY},
    )
    async def cancel_flow_run(id: RunId, request: Request) -> Any:
        """A run that has begun is `cancelling` until its process has ended."""
        return _out(runs, await runs.cancel(id), request)

    @routes.post(
        "/api/flow-runs/{id}/retry",
        summary="Run again, with the same parameters",
        status_code=202,
        response_model=FlowRunOut,
        responses={404: _UNKNOWN, 422: _REFUSED},
    )
    async def retry_flow_run(id: RunId, request: Request, response: Response) -> Any:
        """A new run; the study of a training goes on where it was."""
        record = await runs.retry(id, user_name(request.scope))
        response.headers["Location"] = record.place
        return _out(runs, record, request)


def _add_lists(routes: APIRouter, runs: FlowRuns) -> None:
    @routes.get(
        "/api/flow-runs",
        summary="Runs, newest first",
        response_model=list[FlowRunSummaryOut],
    )
    async def get_flow_runs(
        request: Request,
        response: Response,
        experiment: Annotated[
            str | None, Query(max_length=64, description="Only of this experiment.")
        ] = None,
        state: Annotated[FlowState | None, Query(description="Only in this state.")] = None,
        limit: Annotated[int, Query(ge=1, le=500, description="Length of a page.")] = 50,
        after: After = None,
    ) -> Any:
        """Runs that ended are listed while the service of flows is away. `after` is the id of a run."""
        found = _page(await runs.all(), experiment, state, after)
        shown = found[:limit]
        if len(found) > limit:
            next_page(request, response, after=shown[-1].id)
        return [
            FlowRunSummaryOut(**FlowRunSummaryOut.members(one, _message(runs, one, request)))
            for one in shown
        ]


def _add_reading(routes: APIRouter, runs: FlowRuns) -> None:
    @routes.get(
        "/api/flow-runs/{id}",
        summary="A run, with its tasks and its result",
        response_model=FlowRunOut,
        responses={404: _UNKNOWN},
    )
    async def get_flow_run(id: RunId, request: Request) -> Any:
        return _out(runs, await runs.find(id), request)

    @routes.get(
        "/api/flow-runs/{id}/logs",
        summary="The log of a run, oldest line first",
        response_model=list[FlowLogLineOut],
        responses={404: _UNKNOWN, 503: _AWAY},
    )
    async def get_flow_run_logs(
        id: RunId,
        offset: Annotated[int, Query(ge=0, le=1_000_000, description="Lines to leave out.")] = 0,
        limit: Annotated[int, Query(ge=1, le=200, description="Lines at most.")] = 200,
        prefect: Annotated[
            bool,
            Query(
                description="With the lines that Prefect writes of itself: `Finished in state …`."
            ),
        ] = False,
    ) -> Any:
        """Of a run that has ended, the first 5,000 lines are kept. `offset` counts those shown."""
        return [FlowLogLineOut.of(one) for one in await runs.logs(id, offset, limit, all=prefect)]

    @routes.get(
        "/api/flow-monitoring-data",
        summary="The newest runs as a chart",
        response_model=FlowMonitoringOut,
    )
    async def get_flow_monitoring_data(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=500, description="Runs at most.")] = 50,
    ) -> Any:
        """Ready for Plotly: a line for each run, with a wide bar for it and narrow ones for its tasks."""
        chart = await runs.monitoring(limit)
        if not _is_operator(request):
            chart["flow_info"] = [_without_messages(one) for one in chart["flow_info"]]
        state, why = runs.service
        return FlowMonitoringOut.of(chart, state, why if _is_operator(request) else "")


def _out(runs: FlowRuns, record: Record, request: Request) -> FlowRunOut:
    return FlowRunOut.of(record, _message(runs, record, request))


def _message(runs: FlowRuns, record: Record, request: Request) -> str:
    """What the user may read of a run's state."""
    return runs.message(record) if _is_operator(request) else ""


def _is_operator(request: Request) -> bool:
    user: User | None = request.scope.get(USER)
    return user is not None and user.may(Role.OPERATOR)


def _page(
    records: list[Record], experiment: str | None, state: FlowState | None, after: str | None
) -> list[Record]:
    if after is not None:
        ids = [one.id for one in records]
        if after not in ids:
            raise InvalidRequest(
                f"cannot go on behind {after[:80]!a}: there is no such run any more; begin without after"
            )
        records = records[ids.index(after) + 1 :]
    return [
        one
        for one in records
        if (experiment is None or one.experiment == experiment)
        and (state is None or one.state is state)
    ]


def _without_messages(info: dict[str, Any]) -> dict[str, Any]:
    tasks = [{**one, "message": ""} for one in info["tasks"]]
    return {**info, "message": "", "tasks": tasks}
