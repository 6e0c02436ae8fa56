"""Builds the HTTP interface: the API, one router for each area, and the dashboard."""

from importlib.metadata import version

from fastapi import APIRouter, Depends, FastAPI
from fastapi_offline import FastAPIOffline

from model_deployment import __version__
from model_deployment.api import (
    compare,
    datasets,
    deployments,
    docs_page,
    environments,
    flow_project,
    flows,
    logs,
    metrics,
    mlflow_webhook,
    model_errors,
    model_info,
    models,
    openai,
    openapi,
    predictions,
    problems,
    reports,
    system,
    timeseries,
)
from model_deployment.api import endpoints as endpoint_calls
from model_deployment.api import monitoring as monitoring_calls
from model_deployment.api.audit import Audit
from model_deployment.api.changes import ChangeCalls
from model_deployment.api.changes import router as changes_router
from model_deployment.api.datasets import DatasetCalls
from model_deployment.api.deployments import DeploymentCalls
from model_deployment.api.endpoints import EndpointCalls, Page
from model_deployment.api.flow_project import FlowProjectCalls
from model_deployment.api.logs import LogCalls
from model_deployment.api.mlflow_webhook import MlflowWebhook
from model_deployment.api.model_errors import ModelErrorCalls
from model_deployment.api.model_info import ModelInfo
from model_deployment.api.monitoring import MonitoringCalls
from model_deployment.api.names import Names
from model_deployment.api.training_data import TrainingDataCalls
from model_deployment.api.training_data import router as training_data_router
from model_deployment.api.unknown_parameters import known_parameters_only
from model_deployment.app.device_routes import device_routers
from model_deployment.app.devices import EdgeParts
from model_deployment.app.monitoring import MonitoringParts
from model_deployment.app.retraining import RetrainingParts
from model_deployment.app.serving import ServingParts
from model_deployment.control.changes import Changes
from model_deployment.control.controller import Controller
from model_deployment.credentials.access import USER
from model_deployment.dashboard.dashboard import Dashboard
from model_deployment.dashboard.dependencies import Dependencies
from model_deployment.dashboard.device_charts import ReadTraffic
from model_deployment.devices.service import Devices
from model_deployment.documents.base import Collection
from model_deployment.endpoints.service import Endpoints
from model_deployment.flows.parameters import allowed
from model_deployment.metrics.endpoint_feedback import EndpointFeedback
from model_deployment.telemetry.collect import Telemetry

_DESCRIPTION = """
Serves the models of an MLflow registry: one model server process for each deployed version, behind one
address. **Deploy** a version, send **predictions** to `/<model>-<version>`, **undeploy** it.
"""

_AREAS = [
    {"name": "predictions", "description": "Ask models."},
    {"name": "endpoints", "description": "Addresses that follow an alias of the registry."},
    {"name": "deployments", "description": "Model versions that are served."},
    {
        "name": "devices",
        "description": "Devices at the edge: projects, releases and what devices are told. Each path "
        "below `/projects/<project>/` is also there below `/<project>/`.",
    },
    {"name": "registry", "description": "What the MLflow registry has."},
    {"name": "monitoring", "description": "Metrics, ground truth, captures and reports."},
    {
        "name": "flows",
        "description": "From new data to a new version: the project, its data and its runs.",
    },
    {"name": "system", "description": "The controller itself."},
]


def build_api(
    controller: Controller,
    serving: ServingParts,
    monitoring: MonitoringParts,
    telemetry: Telemetry,
    dashboard: Dashboard,
    endpoints: Endpoints,
    changes: Changes,
    retraining: RetrainingParts,
    edge: EdgeParts | None = None,
    *,
    webhook: MlflowWebhook,
    comparison_page: Page,
    undeploy_wait: float,
) -> FastAPI:
    """The application.

    Args:
        comparison_page: writes the page of a comparison of two versions.
        undeploy_wait: seconds that an undeploy waits unless its caller says otherwise.
    """
    app = _application()
    names = Names(controller.get, endpoints, monitoring.documents)
    problems.install(app)
    app.add_middleware(Audit)
    for router in (
        system.router(
            controller,
            idle=lambda: serving.reconciler.idle,
            monitoring=monitoring.upkeep.state,
            mlflow_version=version("mlflow"),
            refresh=serving.data_plane.refresh,
            memory=telemetry.machine_memory,
        ),
        environments.router(serving.environments),
        docs_page.router("model_deployment"),
        metrics.router(telemetry.page),
        *_monitoring_routers(controller, monitoring, names),
        models.router(controller, serving.registry),
        mlflow_webhook.router(webhook),
        *_deployments_routers(
            controller, changes, serving, monitoring, telemetry, endpoints, undeploy_wait
        ),
        endpoint_calls.router(EndpointCalls(endpoints, comparison_page)),
        model_info.router(
            ModelInfo(endpoints, serving.registry.registered, controller.get, serving.describe)
        ),
        *_retraining_routers(retraining),
        dashboard.router(),
        openai.router(),
        timeseries.router(),
        # The last ones: their paths could be taken for others, and POST /projects for a prediction.
        *(device_routers(edge) if edge else ()),
        predictions.router(controller),
    ):
        app.include_router(router)
    openapi.complete(app)
    return app


def _application() -> FastAPI:
    """One without calls."""
    app: FastAPI = FastAPIOffline(
        title="model_deployment",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,  # docs_page.py has it
        redirect_slashes=False,
        openapi_tags=_AREAS,
        generate_unique_id_function=lambda route: route.name,
        dependencies=[Depends(known_parameters_only)],
    )
    return app


def _retraining_routers(parts: RetrainingParts) -> tuple[APIRouter, ...]:
    data = parts.data
    return (
        flow_project.router(FlowProjectCalls(parts.project, allowed)),
        flows.router(parts.runs),
        training_data_router(TrainingDataCalls(data.uploads, data.runs, data.trained_on)),
    )


def _monitoring_routers(
    controller: Controller, monitoring: MonitoringParts, names: Names
) -> tuple[APIRouter, ...]:
    return (
        monitoring_calls.router(
            MonitoringCalls(
                controller,
                monitoring.monitoring,
                monitoring.feedback,
                EndpointFeedback(monitoring.feedback),
                names,
            )
        ),
        model_errors.router(ModelErrorCalls(controller, monitoring.monitoring.errors)),
        compare.router(controller, monitoring.monitoring, monitoring.details),
        reports.router(names, monitoring.reporter),
        datasets.router(
            DatasetCalls(
                names=names,
                find_training=monitoring.find_training,
                find_inputs=monitoring.find_inputs,
                documents=monitoring.documents,
            )
        ),
    )


def _deployments_routers(
    controller: Controller,
    changes: Changes,
    serving: ServingParts,
    monitoring: MonitoringParts,
    telemetry: Telemetry,
    endpoints: Endpoints,
    undeploy_wait: float,
) -> tuple[APIRouter, ...]:
    calls = DeploymentCalls(
        controller,
        describe=serving.describe,
        tail=serving.runtime.tail,
        counters=serving.data_plane.counters,
        memory=telemetry.memory,
        traffic=serving.data_plane.traffic,
        identify=serving.runtime.identity,
        workers=telemetry.workers,
        refresh=serving.data_plane.refresh,
        used_by=endpoints.users_of,
        disown=endpoints.disown,
        changes=changes,
        registered=monitoring.details.find,
        environments=serving.environments,
    )
    return (
        deployments.router(calls, undeploy_wait=undeploy_wait),
        logs.router(
            LogCalls(
                controller,
                serving.logs.search,
                serving.logs.exists,
                serving.runtime.update_log,
                serving.environments.log,
            )
        ),
        changes_router(
            ChangeCalls(
                changes,
                answer=calls.answer,
                explain=calls.explain,
                used_by=endpoints.users_of,
                show=calls.show,
            )
        ),
    )


def build_dashboard(
    controller: Controller,
    serving: ServingParts,
    monitoring: MonitoringParts,
    telemetry: Telemetry,
    endpoints: Endpoints,
    retraining: RetrainingParts,
    devices: Devices,
    device_traffic: ReadTraffic,
) -> Dashboard:
    """The pages for people.

    Args:
        device_traffic: reads what a device served.
    """
    registry = serving.registry

    async def ping_registry() -> None:
        # Without words for what was wanted: only what is away is shown.
        await registry.ask("", lambda client: client.search_registered_models(max_results=1))

    async def ping_documents() -> None:
        await (await monitoring.store.opened()).get(Collection.REPORTS, "any")

    dependencies = Dependencies(
        controller=controller,
        endpoints=endpoints,
        monitoring=monitoring.monitoring,
        reporter=monitoring.reporter,
        documents=monitoring.documents,
        find_inputs=monitoring.find_inputs,
        models=registry.models,
        versions=registry.versions,
        details=monitoring.details,
        ping_registry=ping_registry,
        ping_documents=ping_documents,
        events=controller.events,
        collect=telemetry.snapshot,
        launches=telemetry.launches,
        runs_as=serving.runtime.identity,
        totals=serving.data_plane.counts.served.totals.all,
        describe=serving.describe,
        counters=serving.data_plane.counters,
        find_training=monitoring.find_training,
        identify=lambda scope: scope.get(USER),
        project=retraining.project,
        flow_runs=retraining.runs,
        uploads=retraining.data.uploads,
        trained_on=retraining.data.trained_on,
        devices=devices,
        device_traffic=device_traffic,
        environments=serving.environments,
    )
    return Dashboard(dependencies)
