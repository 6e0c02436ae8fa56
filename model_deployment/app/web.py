"""Builds the HTTP interface: the API, one router for each area, and the dashboard."""

from importlib.metadata import version

from fastapi import APIRouter, Depends, FastAPI
from fastapi_offline import FastAPIOffline

from model_deployment import __version__
from model_deployment.api import (
    datasets,
    deployments,
    metrics,
    mlflow_webhook,
    model_info,
    models,
    openapi,
    predictions,
    problems,
    reports,
    system,
)
from model_deployment.api import endpoints as endpoint_calls
from model_deployment.api import monitoring as monitoring_calls
from model_deployment.api.audit import Audit
from model_deployment.api.datasets import DatasetCalls
from model_deployment.api.deployments import DeploymentCalls
from model_deployment.api.endpoints import EndpointCalls, Page
from model_deployment.api.mlflow_webhook import MlflowWebhook
from model_deployment.api.model_info import ModelInfo
from model_deployment.api.monitoring import MonitoringCalls
from model_deployment.api.names import Names
from model_deployment.api.unknown_parameters import known_parameters_only
from model_deployment.app.monitoring import MonitoringParts
from model_deployment.app.serving import ServingParts
from model_deployment.control.controller import Controller
from model_deployment.credentials.access import USER
from model_deployment.dashboard.dashboard import Dashboard
from model_deployment.dashboard.dependencies import Dependencies
from model_deployment.documents.base import Collection
from model_deployment.endpoints.service import Endpoints
from model_deployment.metrics.endpoint_feedback import EndpointFeedback
from model_deployment.telemetry.collect import Telemetry

_DESCRIPTION = """
Serves the models of an MLflow registry: one model server process for each deployed version, behind one
address. **Deploy** a version, send **predictions** to `/<model>-<version>`, **undeploy** it.
"""


def build_api(
    controller: Controller,
    serving: ServingParts,
    monitoring: MonitoringParts,
    telemetry: Telemetry,
    dashboard: Dashboard,
    endpoints: Endpoints,
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
    app: FastAPI = FastAPIOffline(
        title="model_deployment",
        version=__version__,
        description=_DESCRIPTION,
        redirect_slashes=False,
        dependencies=[Depends(known_parameters_only)],
    )
    names = Names(controller.get, endpoints)
    problems.install(app)
    app.add_middleware(Audit)
    for router in (
        system.router(
            controller,
            idle=lambda: serving.reconciler.idle,
            monitoring=monitoring.upkeep.state,
            mlflow_version=version("mlflow"),
            refresh=serving.data_plane.refresh,
        ),
        metrics.router(telemetry.page),
        *_monitoring_routers(controller, monitoring, names),
        models.router(controller, serving.registry),
        mlflow_webhook.router(webhook),
        _deployments_router(controller, serving, telemetry, endpoints, undeploy_wait),
        endpoint_calls.router(EndpointCalls(endpoints, comparison_page)),
        model_info.router(
            ModelInfo(endpoints, serving.registry.versions, controller.get, serving.describe)
        ),
        dashboard.router(),
        # The last one: its paths could be taken for others.
        predictions.router(controller),
    ):
        app.include_router(router)
    openapi.complete(app)
    return app


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


def _deployments_router(
    controller: Controller,
    serving: ServingParts,
    telemetry: Telemetry,
    endpoints: Endpoints,
    undeploy_wait: float,
) -> APIRouter:
    return deployments.router(
        DeploymentCalls(
            controller,
            describe=serving.describe,
            tail=serving.logs.tail,
            counters=serving.data_plane.counters,
            memory=telemetry.memory,
            workers=telemetry.workers,
            refresh=serving.data_plane.refresh,
            used_by=endpoints.users_of,
            disown=endpoints.disown,
        ),
        undeploy_wait=undeploy_wait,
    )


def build_dashboard(
    controller: Controller,
    serving: ServingParts,
    monitoring: MonitoringParts,
    telemetry: Telemetry,
    endpoints: Endpoints,
) -> Dashboard:
    """The pages for people."""
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
        ping_registry=ping_registry,
        ping_documents=ping_documents,
        collect=telemetry.snapshot,
        totals=serving.data_plane.counts.served.totals.all,
        describe=serving.describe,
        counters=serving.data_plane.counters,
        find_training=monitoring.find_training,
        identify=lambda scope: scope.get(USER),
    )
    return Dashboard(dependencies)
