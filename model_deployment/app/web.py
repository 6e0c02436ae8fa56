"""The third part of the composition: the HTTP interface, one router per area."""

from collections.abc import Callable, Mapping
from importlib.metadata import version

from fastapi import Depends, FastAPI
from fastapi_offline import FastAPIOffline

from model_deployment import __version__
from model_deployment.api import (
    datasets,
    deployments,
    metrics,
    models,
    monitoring,
    openapi,
    problems,
    reports,
    system,
)
from model_deployment.api.audit import Audit
from model_deployment.api.request_scope import USER
from model_deployment.api.unknown_parameters import known_parameters_only
from model_deployment.app.monitoring import Watch
from model_deployment.control.controller import Controller
from model_deployment.core.names import ModelKey
from model_deployment.dashboard.dashboard import Dashboard
from model_deployment.dashboard.dependencies import Parts
from model_deployment.documents.base import Collection
from model_deployment.recording.counters import Total
from model_deployment.registry.client import Registry
from model_deployment.reports.inputs import FindTraining
from model_deployment.telemetry.collect import Telemetry

_DESCRIPTION = """
Serves the models of an MLflow registry: one model server process for each deployed version, behind one
address. **Deploy** a version, send **predictions** to `/<model>-<version>`, **undeploy** it.
"""


def api(
    controller: Controller,
    registry: Registry,
    watch: Watch,
    telemetry: Telemetry,
    *,
    find_training: FindTraining,
    describe: deployments.Describe,
    tail: deployments.Tail,
    counters: deployments.Count,
    idle: Callable[[], float],
    undeploy_wait: float,
    dashboard: Dashboard,
) -> FastAPI:
    """The application.

    Args:
        find_training: what a deployed version was trained on.
        describe: reads what a cached model says of itself.
        tail: the last lines of a launch's log.
        counters: what the proxy has counted of a deployment.
        idle: seconds since the reconciler's last good tick.
        undeploy_wait: seconds that an undeploy waits unless told otherwise.
        dashboard: the pages for people.
    """
    app: FastAPI = FastAPIOffline(
        title="model_deployment",
        version=__version__,
        description=_DESCRIPTION,
        redirect_slashes=False,
        dependencies=[Depends(known_parameters_only)],
    )
    problems.install(app)
    app.add_middleware(Audit)
    for router in (
        system.router(
            controller,
            idle=idle,
            monitoring=watch.keeper.state,
            mlflow_version=version("mlflow"),
        ),
        metrics.router(telemetry.page),
        monitoring.router(controller, watch.monitoring, watch.feedback),
        reports.router(controller, watch.reporter),
        datasets.router(
            get=controller.get,
            find_training=find_training,
            find_inputs=watch.find_inputs,
            documents=watch.documents,
        ),
        models.router(controller, registry),
        deployments.router(
            controller,
            describe=describe,
            tail=tail,
            counters=counters,
            memory=telemetry.memory,
            workers=telemetry.workers,
            undeploy_wait=undeploy_wait,
        ),
        dashboard.router(),
        # The last one: its paths could be taken for others.
        deployments.predictions(controller),
    ):
        app.include_router(router)
    openapi.complete(app)
    return app


def pages(
    controller: Controller,
    registry: Registry,
    watch: Watch,
    telemetry: Telemetry,
    *,
    totals: Callable[[], Mapping[ModelKey, Total]],
    find_training: FindTraining,
    describe: deployments.Describe,
    counters: deployments.Count,
) -> Dashboard:
    """The pages for people; arguments as in :func:`api`.

    Args:
        totals: what was counted of requests.
    """

    async def reach_registry() -> None:
        # Without words for what was wanted: only what is away is shown.
        await registry.ask("", lambda client: client.search_registered_models(max_results=1))

    async def reach_documents() -> None:
        await (await watch.keeper.opened()).get(Collection.REPORTS, "any")

    parts = Parts(
        controller=controller,
        monitoring=watch.monitoring,
        reporter=watch.reporter,
        documents=watch.documents,
        find_inputs=watch.find_inputs,
        models=registry.models,
        versions=registry.versions,
        reach_registry=reach_registry,
        reach_documents=reach_documents,
        look=telemetry.look,
        totals=totals,
        describe=describe,
        counters=counters,
        find_training=find_training,
        who=lambda scope: scope.get(USER),
    )
    return Dashboard(parts)
