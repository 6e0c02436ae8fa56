"""Builds the controller's side of flows: records of runs, the engine's client, what starts the service."""

import contextlib
import logging
import os
from pathlib import Path

from model_deployment.alerts.webhook import Webhook
from model_deployment.app.background import in_background
from model_deployment.app.serving import ServingParts
from model_deployment.core.errors import ModelDeploymentError, NotFound, StateError
from model_deployment.core.names import ModelKey
from model_deployment.credentials import service_user
from model_deployment.flow_project import Project
from model_deployment.flows import service_file
from model_deployment.flows.base import FlowState
from model_deployment.flows.kept_data import KeptData
from model_deployment.flows.news import RunNews
from model_deployment.flows.prefect import Address, PrefectFlows
from model_deployment.flows.records import Record, Records
from model_deployment.flows.retraining import Retraining
from model_deployment.flows.runs import FlowRuns
from model_deployment.flows.starter import Elsewhere, Keeper, Starter
from model_deployment.registry.client import Registry
from model_deployment.registry.dead_runs import Dead, DeadRuns
from model_deployment.runtime.flow_service import ServiceProcess, is_service
from model_deployment.settings import Settings
from model_deployment.settings.flows_environment import flows_environment
from model_deployment.state.database import Database
from model_deployment.state.endpoints import EndpointStore
from model_deployment.training_data.versions import Versions

_log = logging.getLogger(__name__)

#: Tag of a model version that names its training data.
_DATA_TAG = "data_sha256"


def build_flows(
    settings: Settings,
    project: Project,
    webhook: Webhook,
    registry: Registry,
    stack: contextlib.AsyncExitStack,
) -> FlowRuns:
    """The runs of flows; the stack ends what goes on in the background, and leaves the service alone.

    Raises:
        StateError: the folder of runs cannot be used.
    """
    folder = settings.flows_dir
    records = Records(folder / "requests")
    try:
        records.open()
    except OSError as error:
        raise StateError(f"cannot use {folder}: {error.strerror}") from error
    keeper = _keeper(settings, project, stack)
    engine = PrefectFlows(keeper.address)
    stack.push_async_callback(engine.close)
    if project.is_set:
        _make_service_user(settings)
    news = RunNews(records, webhook.call)
    in_background(stack, news.run(), "news of flows")
    dead = DeadRuns(registry)
    in_background(stack, dead.run(), "dead runs")

    async def ended(record: Record) -> None:
        if record.state is not FlowState.COMPLETED and record.run is not None:
            dead.add(Dead(record.experiment, record.run_ids))
        await news.ended(record)

    runs = FlowRuns(engine, keeper, records, project, _kept_data(settings), on_end=ended)
    in_background(stack, runs.run(), "flows")
    return runs


def build_verdicts(runs: FlowRuns, database: Database, serving: ServingParts) -> Retraining:
    """What starts the full flow when a model has degraded."""
    endpoints = EndpointStore(database)

    async def trained_on(key: ModelKey) -> str | None:
        found = await serving.registry.registered(key)
        return found.tags.get(_DATA_TAG) if found else None

    async def champion(name: str) -> int | None:
        named = (one for one, _ in await endpoints.all() if str(one.name) == name)
        return next((one.champion for one in named), None)

    return Retraining(runs, trained_on=trained_on, champion=champion, note=serving.reconciler.note)


def _kept_data(settings: Settings) -> KeptData:
    versions = Versions(settings.data_dir)

    def has(sha256: str) -> bool:
        try:
            versions.get(sha256)
        except NotFound:
            return False
        return True

    def newest(experiment: str) -> str | None:
        found = versions.newest(experiment)
        return found.sha256 if found else None

    return KeptData(has, newest)


def _keeper(settings: Settings, project: Project, stack: contextlib.AsyncExitStack) -> Keeper:
    if settings.flows_api_url:
        return Elsewhere(
            Address(settings.flows_api_url, settings.flows_api_auth.get_secret_value())
        )
    folder, python = settings.flows_dir, settings.python_of_flows
    process = ServiceProcess(python, folder, folder / service_file.LOG)
    stack.callback(process.forget)
    return Starter(
        process,
        lambda: service_file.read(folder, is_service),
        lambda: flows_environment(settings, service_user.ensure(settings.credentials, folder)),
        unusable=lambda: _unusable(project, python),
    )


def _unusable(project: Project, python: Path) -> str:
    """Why the service cannot be started; empty: it can be."""
    if not project.is_set:
        return "no project is set (MODEL_DEPLOYMENT_FLOWS_PROJECT)"
    if not os.access(python, os.X_OK):
        return (
            f"there is no Python of the flows' environment at {python}; `make flows` makes the "
            "environment, MODEL_DEPLOYMENT_FLOWS_PYTHON names another one"
        )
    return ""


def _make_service_user(settings: Settings) -> None:
    try:
        service_user.ensure(settings.credentials, settings.flows_dir)
    except (OSError, ModelDeploymentError) as error:
        _log.error("flows cannot call the controller: %s", error)
