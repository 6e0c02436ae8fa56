"""The bodies of calls about runs of flows."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from model_deployment.api.examples import example
from model_deployment.flows.base import FlowState, LogLine, TaskRun
from model_deployment.flows.records import Record
from model_deployment.flows.service_file import ServiceState

_SHA = "3f786850e387550fdab836ed7e6dc881de23001b0cc7b6e3c1f1a1a3b0a0c4d2"
_ID = "20260131T120000-0a1b2c3d"
_RUN_ID = "908f2f33-d620-4ebe-ab3a-070691a202ef"
_TASK: dict[str, Any] = {
    "id": "69624960-1c16-4494-8524-8f1019fe0b5d", "run_id": _RUN_ID, "name": "train_flow-0",
    "state": "completed", "state_name": "Completed", "attempts": 1,
    "started_at": "2026-01-31T12:00:12Z", "ended_at": "2026-01-31T12:00:52Z",
    "after": [], "child": None,
}  # fmt: skip
_SUMMARY: dict[str, Any] = {
    "id": _ID, "run_id": _RUN_ID, "flow": "full_flow", "experiment": "income",
    "run_name": "able-alligator", "state": "completed", "state_name": "Completed", "message": "",
    "parameters": {"experiment": "income", "data": _SHA, "model_type": "auto", "trials": 20},
    "requested_at": "2026-01-31T12:00:00Z", "requested_by": "anna", "again": None,
    "started_at": "2026-01-31T12:00:10Z", "ended_at": "2026-01-31T12:01:25Z",
    "place": f"/api/flow-runs/{_ID}",
}  # fmt: skip
_INFO: dict[str, Any] = {
    "id": _ID, "run_id": _RUN_ID, "name": "full_flow", "run_name": "able-alligator",
    "experiment": "income", "state": "completed", "state_name": "Completed", "message": "",
    "requested_at": "2026-01-31T12:00:00.000Z", "start_time": "2026-01-31T12:00:10.000Z",
    "end_time": "2026-01-31T12:01:25.000Z", "duration": 75.0, "tasks": [],
}  # fmt: skip


def _or_null(kind: str) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"type": kind}, {"type": "null"}]})


_Text = Annotated[Any, _or_null("string")]
_Flag = Annotated[Any, _or_null("boolean")]
_Whole = Annotated[Any, _or_null("integer")]
_Number = Annotated[Any, _or_null("number")]


class RunFlowIn(BaseModel):
    """What a run is given. A member that is null is left to the settings of the experiment."""

    # Runs check the members themselves: an error names all that are wrong, and what is allowed.

    model_config = ConfigDict(
        extra="allow",
        strict=True,
        json_schema_extra={
            "additionalProperties": False,
            "examples": [{"experiment": "income", "model_type": "random_forest", "trials": 10}],
        },
    )

    experiment: str = Field(max_length=64, description="Key in `experiments` of `settings.yaml`.")
    data: _Text = Field(
        None,
        description="SHA-256 of a version of training data, or `original`: the original data of the "
        "experiment. Default: the newest version of the experiment, else the original data.",
    )
    force: _Flag = Field(
        None, description="`data_flow`, `full_flow`: findings of severity `error` do not stop it."
    )
    model_type: _Text = Field(
        None, description="One of the experiment's `model_types`, or `auto`: the study chooses."
    )
    trials: _Whole = Field(None, description="Trials of the study.")
    timeout: _Number = Field(None, description="Seconds of the study.")
    epochs: _Whole = Field(None, description="Epochs; time series only.")
    version: _Whole = Field(
        None,
        description="`eval_flow`: the version to evaluate (default: alias `newest`). `deploy_flow`: the "
        "one to hand over (default: alias `challenger`).",
    )
    wait: _Number = Field(None, description="Seconds to wait for the verdict of the rollout.")

    def given(self) -> dict[str, Any]:
        """All but the experiment and the data."""
        return self.model_dump(exclude={"experiment", "data"}, exclude_none=True)


class FlowRunSummaryOut(BaseModel):
    """A run of a flow."""

    model_config = example(_SUMMARY)

    id: str
    run_id: str | None = Field(description="Prefect's id; null until Prefect has the run.")
    flow: str
    experiment: str
    run_name: str = Field(description="Prefect's name of the run.")
    state: FlowState = Field(
        description="`requested`: it is kept, and Prefect gets it as soon as the service of flows is "
        "ready. `crashed`: its process ended without a word."
    )
    state_name: str = Field(description="Prefect's word for the state, which may say more.")
    message: str = Field(
        description="What is said of the state; empty for callers: it may repeat values of the data."
    )
    parameters: dict[str, Any]
    requested_at: datetime
    requested_by: str = Field(
        description="A user; `degraded`: a verdict; empty: there are no users."
    )
    again: str | None = Field(description="Id of the run that it repeats.")
    started_at: datetime | None
    ended_at: datetime | None
    place: str = Field(description="Path of the run.")

    @classmethod
    def members(cls, record: Record, message: str) -> dict[str, Any]:
        """From a record.

        Args:
            message: what is said of its state, as far as the user may read it.
        """
        run = record.run
        return {
            "id": record.id,
            "run_id": run.id if run else None,
            "flow": record.flow,
            "experiment": record.experiment,
            "run_name": run.name if run else "",
            "state": record.state,
            "state_name": run.state_name
            if run and record.settled is None
            else str(record.state).capitalize(),
            "message": message,
            "parameters": dict(record.parameters),
            "requested_at": record.at,
            "requested_by": record.by,
            "again": record.again or None,
            "started_at": run.started if run else None,
            "ended_at": run.ended if run else None,
            "place": record.place,
        }


class FlowTaskOut(BaseModel):
    """A task of a run, or a flow within it."""

    model_config = example(_TASK)

    id: str
    run_id: str = Field(description="Of the run, or of the flow within it that the task is of.")
    name: str
    state: FlowState
    state_name: str
    attempts: int
    started_at: datetime | None
    ended_at: datetime | None
    after: list[str] = Field(description="Ids of the tasks whose results it took.")
    child: str | None = Field(description="Prefect's id of the run, if it is a flow within a flow.")

    @classmethod
    def of(cls, task: TaskRun) -> "FlowTaskOut":
        return cls(
            id=task.id,
            run_id=task.run,
            name=task.name,
            state=task.state,
            state_name=task.state_name,
            attempts=task.attempts,
            started_at=task.started,
            ended_at=task.ended,
            after=[*task.after],
            child=task.child,
        )


class FlowRunOut(FlowRunSummaryOut):
    """A run of a flow, with its tasks and its result."""

    model_config = example({
        **_SUMMARY, "tasks": [_TASK],
        "result": {"model": "income", "version": 3, "verdict": "better"},
        "links": {
            "page": f"/dashboard/flows/runs/{_ID}", "logs": f"/api/flow-runs/{_ID}/logs",
            "data": f"/datasets/{_SHA}",
        },
    })  # fmt: skip

    tasks: list[FlowTaskOut]
    result: dict[str, Any] | None = Field(description="What the flow has found out; null so far.")
    links: dict[str, str]

    @classmethod
    def of(cls, record: Record, message: str) -> "FlowRunOut":
        members = cls.members(record, message)
        links = {"page": f"/dashboard/flows/runs/{record.id}", "logs": f"{record.place}/logs"}
        if data := record.data_sha256:
            links["data"] = f"/datasets/{data}"
        tasks = [FlowTaskOut.of(one) for one in record.tasks]
        result = dict(record.result) if record.result is not None else None
        return cls(**members, tasks=tasks, result=result, links=links)


class FlowLogLineOut(BaseModel):
    """A line of a run's log."""

    model_config = example({
        "at": "2026-01-31T12:00:13.120Z", "level": "INFO", "logger": "prefect.task_runs",
        "message": "trial 3 of 20: f1_score 0.71", "task": _TASK["id"],
    })  # fmt: skip

    at: datetime
    level: str
    logger: str
    message: str
    task: str | None = Field(description="Id of the task that wrote it.")

    @classmethod
    def of(cls, line: LogLine) -> "FlowLogLineOut":
        return cls(
            at=line.at, level=line.level, logger=line.logger, message=line.message, task=line.task
        )


class FlowServiceOut(BaseModel):
    """The service that carries out flows."""

    model_config = example({"state": "ready", "problem": ""})

    state: ServiceState = Field(description="`away`: it starts with the next run.")
    problem: str = Field(description="Why it cannot be started; empty: nothing is wrong.")


class FlowMonitoringOut(BaseModel):
    """Runs, and the chart of them: `Plotly.newPlot(element, graph, layout)` draws it."""

    model_config = example({
        "flow_info": [_INFO], "graph": [{"type": "bar", "orientation": "h"}],
        "layout": {"barmode": "overlay"}, "service": {"state": "ready", "problem": ""},
    })  # fmt: skip

    flow_info: list[dict[str, Any]] = Field(
        description="Newest first: id, name, run name, state, times (ISO 8601, UTC), seconds, tasks."
    )
    graph: list[dict[str, Any]] = Field(
        description="Traces of Plotly: horizontal bars, from `base` on `x` milliseconds long. Times are "
        "UTC and written without a zone, since Plotly has none."
    )
    layout: dict[str, Any] = Field(description="Plotly's layout.")
    service: FlowServiceOut

    @classmethod
    def of(cls, chart: Mapping[str, Any], state: ServiceState, problem: str) -> "FlowMonitoringOut":
        return cls(**chart, service=FlowServiceOut(state=state, problem=problem))
