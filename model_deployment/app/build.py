"""Builds a controller from its settings, and runs it until its context is left."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from model_deployment.alerts.deployments import DeploymentAlerts
from model_deployment.alerts.webhook import Webhook
from model_deployment.api.access import OPEN_CALLS, authorise, reads_body
from model_deployment.api.forwarded import Forwarded
from model_deployment.api.guard import Guard
from model_deployment.api.mlflow_webhook import MlflowWebhook
from model_deployment.app import components, web
from model_deployment.app.background import in_background
from model_deployment.app.components import StandIn
from model_deployment.app.device_tokens import device_tokens
from model_deployment.app.devices import EdgeParts, build_devices
from model_deployment.app.document_store import check_document_store
from model_deployment.app.endpoints import build_endpoints, publish_known
from model_deployment.app.monitoring import MonitoringParts, build_monitoring
from model_deployment.app.proxies import take_address
from model_deployment.app.retraining import build_retraining
from model_deployment.app.serving import ServingParts, build_serving
from model_deployment.app.timeseries import follow_timeseries_endpoint
from model_deployment.control.changes import Changes
from model_deployment.control.controller import Controller
from model_deployment.control.option_checks import OptionChecks
from model_deployment.control.reconciler import Reconciler
from model_deployment.credentials.access import Access
from model_deployment.credentials.verify import Credentials
from model_deployment.data_plane.data_plane import DataPlane
from model_deployment.data_plane.held_figures import HeldReader
from model_deployment.devices.connections import DeviceConnections
from model_deployment.endpoints.comparison.page import render
from model_deployment.endpoints.service import Endpoints
from model_deployment.flows.runs import FlowRuns
from model_deployment.http.asgi import App
from model_deployment.http.unix_sockets import bind_in
from model_deployment.proxy import protocol
from model_deployment.proxy.spare_memory import give_memory_back
from model_deployment.runtime import identity
from model_deployment.runtime.memory import MemoryGauge, machine_memory
from model_deployment.settings import Settings
from model_deployment.state.database import Database, DatabaseError, Lock, unusable
from model_deployment.telemetry.collect import Telemetry

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Running:
    """What the server and tests need of a controller at work."""

    app: App
    #: Where proxies forward requests to; it listens already.
    api_socket: socket.socket
    controller: Controller
    endpoints: Endpoints
    devices: DeviceConnections
    reconciler: Reconciler
    data_plane: DataPlane
    instance: str


@dataclass(frozen=True)
class Sockets:
    """Those that listen from the start on."""

    callers: socket.socket
    #: For proxies.
    api: socket.socket


@asynccontextmanager
async def running(settings: Settings, stand_in: StandIn | None = None) -> AsyncIterator[Running]:
    """A controller at work: its state is open, living models are adopted, the control loop ticks.

    Args:
        stand_in: what serves models; MLflow if None.

    Raises:
        StateError: the data directory is in use, or its state cannot be read.
    """
    async with contextlib.AsyncExitStack() as stack:
        _make_folders(settings)
        lock = Lock(settings.data_dir / "controller.lock")
        lock.acquire()
        stack.callback(lock.release)
        # Before anything else: a controller that may not start must not touch living models.
        credentials = components.credentials(settings, stack)
        # Here and not later: callers during the recovery wait instead of being refused.
        api_socket = _open_api_socket(settings, stack)
        listener = await take_address(settings, stack)
        database = Database(settings.data_dir / "state.db")
        await database.open()
        stack.push_async_callback(database.close)
        try:
            await check_document_store(settings, database)
            if await database.new_boot(identity.boot_id()):
                _log.info("first start since the machine booted")
            sockets = Sockets(listener, api_socket)
            parts = await _build(settings, stand_in, database, credentials, sockets, stack)
        except (DatabaseError, OSError) as error:
            raise unusable(settings.data_dir, error) from error
        yield parts


def _make_folders(settings: Settings) -> None:
    try:
        for folder in (
            settings.data_dir,
            *(settings.data_dir / n for n in ("logs", "work", "mlflow", protocol.FOLDER)),
        ):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise unusable(settings.data_dir, error) from error


def _open_api_socket(settings: Settings, stack: contextlib.AsyncExitStack) -> socket.socket:
    try:
        opened = bind_in(settings.data_dir / protocol.FOLDER, protocol.API_SOCKET)
    except OSError as error:
        raise unusable(settings.data_dir, error) from error
    stack.callback(opened.close)
    return opened


async def _build(
    settings: Settings,
    stand_in: StandIn | None,
    database: Database,
    credentials: Credentials,
    sockets: Sockets,
    stack: contextlib.AsyncExitStack,
) -> Running:
    tokens = device_tokens(database)
    credentials.look_devices_up(tokens)
    webhook = Webhook(
        settings.webhook_url, private=settings.webhook_private, format=settings.webhook_format
    )
    alerts = DeploymentAlerts(webhook.call)
    stack.push_async_callback(alerts.close)
    serving = await build_serving(
        settings, stand_in, database, sockets.callers, credentials, alerts.changed, stack
    )
    alerts.remember(await serving.deployments.all())
    await publish_known(database, serving)
    await follow_timeseries_endpoint(settings, serving.data_plane, stack)
    await serving.reconciler.recover()
    await _start_loop(serving.reconciler, settings, stack)
    retraining = build_retraining(settings, database, serving, webhook, stack)
    reported = retraining.verdicts.on_report
    monitoring = build_monitoring(settings, serving, webhook, stack, reported)
    controller = _controller(settings, serving, monitoring)
    endpoints = build_endpoints(settings, database, controller, serving, monitoring, webhook, stack)
    edge = build_devices(settings, database, serving, monitoring, tokens, webhook, stack)
    changes = _changes(settings, serving, controller, endpoints)
    telemetry = _telemetry(settings, serving, monitoring, endpoints, retraining.runs, edge, stack)
    warm_up = asyncio.create_task(serving.registry.warm_up())
    stack.callback(warm_up.cancel)
    dashboard = web.build_dashboard(
        controller, serving, monitoring, telemetry, endpoints, retraining,
        edge.devices, edge.traffic.minutes,
    )  # fmt: skip
    in_background(stack, dashboard.run(), "dashboard")
    policy = settings.policy
    app = web.build_api(
        controller, serving, monitoring, telemetry, dashboard, endpoints, changes, retraining, edge,
        comparison_page=render,
        webhook=MlflowWebhook(settings.mlflow_webhook_secret.get_secret_value(), endpoints.look),
        undeploy_wait=policy.drain_timeout + policy.stop_grace + 5,
    )  # fmt: skip
    in_background(stack, serving.data_plane.run(), "data plane")
    if not settings.keep_proxies:
        stack.push_async_callback(serving.data_plane.retire, policy.drain_timeout)
    return Running(
        app=dashboard.around(_guarded(app, settings, credentials, stack)),
        api_socket=sockets.api,
        controller=controller,
        endpoints=endpoints,
        devices=edge.connections,
        reconciler=serving.reconciler,
        data_plane=serving.data_plane,
        instance=serving.instance,
    )


def _guarded(
    app: App, settings: Settings, credentials: Credentials, stack: contextlib.AsyncExitStack
) -> App:
    """An application that only answers whom its policies allow."""
    guarded = Guard(
        app,
        max_body_bytes=settings.max_body_bytes,
        max_held_bytes=settings.max_held_bytes,
        body_timeout=settings.body_timeout,
        authorise=authorise,
        reads_body=reads_body,
    )
    in_background(stack, give_memory_back(guarded.held), "memory")
    return Forwarded(guarded, Access(credentials, settings.hosts, OPEN_CALLS).admit)


def _controller(
    settings: Settings, serving: ServingParts, monitoring: MonitoringParts
) -> Controller:
    return Controller(
        deployments=serving.deployments,
        ports=serving.ports,
        registry=serving.registry,
        reconciler=serving.reconciler,
        admission=serving.admission,
        defaults=settings.options,
        renewed=monitoring.begin_anew,
        needed=serving.kept_ready.has,
        routed=serving.data_plane.routed,
        checks=OptionChecks(serving.runtime.obstacle),
        ask_size=serving.sizes.ask,
    )


def _changes(
    settings: Settings, serving: ServingParts, controller: Controller, endpoints: Endpoints
) -> Changes:
    return Changes(
        controller=controller,
        deployments=serving.deployments,
        replacements=serving.replacements,
        reconciler=serving.reconciler,
        policy=settings.policy,
        memory=machine_memory,
        compared_by=endpoints.comparing,
    )


def _telemetry(
    settings: Settings,
    serving: ServingParts,
    monitoring: MonitoringParts,
    endpoints: Endpoints,
    flow_runs: FlowRuns,
    edge: EdgeParts,
    stack: contextlib.AsyncExitStack,
) -> Telemetry:
    memory = MemoryGauge(serving.runtime.memory)
    stack.push_async_callback(memory.close)
    return Telemetry(
        deployments=serving.deployments,
        ports=serving.ports,
        endpoints=endpoints.all,
        counters=serving.data_plane.counters,
        traffic=serving.data_plane.traffic,
        totals=serving.data_plane.counts.served.totals,
        refresh=serving.data_plane.refresh,
        captures=monitoring.upkeep.state,
        idle=lambda: serving.reconciler.idle,
        memory=memory,
        workers=serving.runtime.workers,
        last_report=monitoring.last_reports.of,
        flows=flow_runs.figures,
        devices=edge.figures,
        held=HeldReader(
            settings.data_dir / protocol.FOLDER / protocol.LIMITS_FILE, settings.max_held_bytes
        ).figures,
        environments=serving.environments,
        proxies=lambda: (serving.data_plane.serving, serving.data_plane.restarts),
    )


async def _start_loop(
    reconciler: Reconciler, settings: Settings, stack: contextlib.AsyncExitStack
) -> None:
    async def take_down() -> None:
        policy = settings.policy
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)
        limit = policy.drain_timeout + policy.stop_grace + 5
        await reconciler.close(keep=settings.keep_models, limit=limit)

    await reconciler.tick()
    loop = asyncio.create_task(reconciler.run(), name="reconciler")
    stack.push_async_callback(take_down)
