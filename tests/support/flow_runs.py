"""Runs of flows over a stub of Prefect, with a project of two experiments."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from model_deployment.flow_project import Project
from model_deployment.flows.base import FlowRun, FlowState, FlowType, RunQuery, TaskRun
from model_deployment.flows.kept_data import KeptData
from model_deployment.flows.prefect import Address, PrefectFlows
from model_deployment.flows.records import Record, Records
from model_deployment.flows.runs import FlowRuns
from model_deployment.flows.service_file import ServiceState
from tests.support.prefect_engine import Engine

SHA = "ab" * 32
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
SETTINGS = """\
experiments:
  income:
    class: experiments.income:Income
    data: data/income.csv
    target: income
    task: classification
    model_types: [forest, boosting]
    trials: 12
  sales:
    class: experiments.sales:Sales
    data: data/sales.csv
    target: sales
    time_column: day
    task: timeseries
    model_types: [lstm]
"""


@dataclass
class Switch:
    """A keeper of an engine that a test turns on and off."""

    at: Address | None
    problem: str = ""
    asked: int = 0

    @property
    def state(self) -> ServiceState:
        return ServiceState.READY if self.at else ServiceState.AWAY

    def address(self) -> Address | None:
        return self.at

    def ensure(self) -> None:
        self.asked += 1


@dataclass
class Scene:
    """What a test of runs looks at."""

    runs: FlowRuns
    records: Records
    switch: Switch
    ended: list[Record] = field(default_factory=list)


def project(folder: Path, text: str = SETTINGS) -> Project:
    """A project whose settings are these."""
    folder.mkdir(exist_ok=True)
    (folder / "settings.yaml").write_text(text)
    return Project(folder)


@contextlib.asynccontextmanager
async def flow_runs(
    folder: Path, engine: Engine | None, kept: Sequence[str] = (SHA,), newest: str | None = None
) -> AsyncIterator[Scene]:
    """Runs whose records are in a folder, as a controller has them; nothing goes on in the background."""
    switch = Switch(engine.address if engine else None)
    flows = PrefectFlows(switch.address)
    records = Records(folder / "requests")
    records.open()
    ended: list[Record] = []

    async def on_end(record: Record) -> None:
        ended.append(record)

    data = KeptData(lambda sha: sha in kept, lambda experiment: newest)
    runs = FlowRuns(flows, switch, records, project(folder / "project"), data, on_end=on_end)
    yield Scene(runs, records, switch, ended)
    await flows.close()


async def in_engine(engine: Engine) -> list[str]:
    """The ids of the runs that the engine has."""
    flows = PrefectFlows(lambda: engine.address)
    found = [one.id for one in await flows.runs(RunQuery())]
    await flows.close()
    return found


def record(
    id: str = "r",
    state: FlowState = FlowState.COMPLETED,
    *,
    flow: str = FlowType.TRAIN,
    at: datetime = NOW,
    by: str = "ann",
    tasks: Sequence[TaskRun] = (),
) -> Record:
    """A run that began ten seconds after it was asked for, and took a minute."""
    began = at + timedelta(seconds=10)
    run = FlowRun(
        id=f"prefect-{id}",
        flow=flow,
        name="able-alligator",
        state=state,
        state_name=str(state).capitalize(),
        message="",
        parameters={"experiment": "income"},
        tags=(),
        created=at,
        started=began,
        ended=began + timedelta(minutes=1) if state.final else None,
    )
    return Record(
        id=id, flow=flow, experiment="income", at=at, by=by, run=run, tasks=tuple(tasks),
        parameters={"experiment": "income"},
    )  # fmt: skip
