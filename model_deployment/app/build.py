"""The composition root: here everything is put together."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from model_deployment.api.access import Access, authorise
from model_deployment.api.guard import Guard
from model_deployment.app import components, web
from model_deployment.app.components import StandIn
from model_deployment.app.monitoring import Watch, assemble, make_sure_of_documents, surroundings
from model_deployment.control.collaborators import Collaborators
from model_deployment.control.controller import Controller
from model_deployment.control.probes import Prober
from model_deployment.control.reconciler import Reconciler
from model_deployment.core.admission import Admission
from model_deployment.core.domain import Deployment, Route
from model_deployment.credentials.verify import Credentials
from model_deployment.proxy.context import Terms
from model_deployment.proxy.forward import Proxy
from model_deployment.proxy.routes import Routes
from model_deployment.recording.counters import Totals
from model_deployment.registry.artifacts import ArtifactCache
from model_deployment.registry.client import Registry
from model_deployment.registry.mlmodel import Description
from model_deployment.registry.mlmodel_cache import Described
from model_deployment.runtime import identity, sockets
from model_deployment.runtime.local import LocalRuntime
from model_deployment.runtime.logs import LaunchLogs
from model_deployment.runtime.memory import MemoryGauge, measure
from model_deployment.runtime.worker_counts import crew_of
from model_deployment.settings import Settings
from model_deployment.state.database import Database, DatabaseError, Lock, unusable
from model_deployment.state.deployments import Deployments
from model_deployment.state.ports import Ports
from model_deployment.telemetry.collect import Telemetry

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Running:
    """A controller at work."""

    app: Proxy
    controller: Controller
    reconciler: Reconciler
    instance: str
    #: Ends the calls to models that are under way, with an answer that says so.
    drop_calls: Callable[[], None]
    #: Sends away, in a moment, those who wait for a model that is not ready.
    dismiss: Callable[[], None]


@asynccontextmanager
async def running(settings: Settings, stand_in: StandIn | None = None) -> AsyncIterator[Running]:
    """Everything put together: the state is open, what lives is adopted, the loop ticks.

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
        # First of all: who may not start must not touch what lives.
        credentials = components.credentials(settings, stack)
        database = Database(settings.data_dir / "state.db")
        await database.open()
        stack.push_async_callback(database.close)
        try:
            await make_sure_of_documents(settings, database)
            if await database.new_boot(identity.boot_id()):
                _log.info("first start since the machine booted")
            it = await _assemble(settings, stand_in, database, credentials, stack)
        except (DatabaseError, OSError) as error:
            raise unusable(settings.data_dir, error) from error
        yield it


def _make_folders(settings: Settings) -> None:
    try:
        for folder in (
            settings.data_dir,
            *(settings.data_dir / n for n in ("logs", "work", "mlflow")),
        ):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise unusable(settings.data_dir, error) from error


@dataclass(frozen=True)
class _Core:
    """What works whether anybody calls or not."""

    instance: str
    deployments: Deployments
    ports: Ports
    cache: ArtifactCache
    description: Described
    registry: Registry
    logs: LaunchLogs
    routes: Routes
    totals: Totals
    reconciler: Reconciler
    admission: Admission


async def _assemble(
    settings: Settings,
    stand_in: StandIn | None,
    database: Database,
    credentials: Credentials,
    stack: contextlib.AsyncExitStack,
) -> Running:
    core = await _core(settings, stand_in, database, stack)
    await core.reconciler.recover()
    await _start_loop(core.reconciler, settings, stack)
    renewed = _Late()
    controller = Controller(
        deployments=core.deployments,
        ports=core.ports,
        registry=core.registry,
        reconciler=core.reconciler,
        admission=core.admission,
        defaults=settings.options,
        renewed=renewed,
    )
    around = surroundings(
        core.deployments, core.description, core.cache, core.registry, core.reconciler, settings
    )
    watch = assemble(settings, core.instance, around, core.totals, stack)
    renewed.target = watch.begin_anew
    telemetry = _telemetry(core, watch, stack)
    warm_up = asyncio.create_task(core.registry.warm_up())
    stack.callback(warm_up.cancel)

    def describe(row: Deployment) -> tuple[dict[str, Any] | None, Any, Any]:
        return core.description.read(core.cache.path(row.artifact))

    dashboard = web.pages(
        controller,
        core.registry,
        watch,
        telemetry,
        totals=core.totals.all,
        find_training=around.find_training,
        describe=describe,
        counters=core.routes.counters,
    )
    _look_on(dashboard.run(), stack)
    app = web.api(
        controller,
        core.registry,
        watch,
        telemetry,
        find_training=around.find_training,
        describe=describe,
        tail=core.logs.tail,
        counters=core.routes.counters,
        dashboard=dashboard,
        idle=lambda: core.reconciler.idle,
        undeploy_wait=settings.policy.drain_timeout + settings.policy.stop_grace + 5,
    )
    guarded = Guard(app, max_body_bytes=settings.max_body_bytes, authorise=authorise)
    terms = Terms(settings.max_body_bytes, recorder=watch.recorder, trace=core.logs.append)
    access = Access(credentials, settings.hosts)
    proxy = Proxy(guarded, core.routes, terms, access.admit)

    def drop_calls() -> None:
        core.routes.publish(())

    return Running(
        proxy, controller, core.reconciler, core.instance, drop_calls, core.routes.dismiss
    )


async def _core(
    settings: Settings,
    stand_in: StandIn | None,
    database: Database,
    stack: contextlib.AsyncExitStack,
) -> _Core:
    instance = await database.instance_id()
    deployments = Deployments(database)
    ports = Ports(database, *settings.ports)
    await ports.fill()
    cache = ArtifactCache(settings.data_dir / "models")
    cache.open()
    registry = components.registry(settings)
    logs = LaunchLogs(settings.data_dir / "logs", settings.log_max_bytes)
    wake, notes, call = _Late(), _Late(), _Late()
    forks = components.forks(settings, instance, logs, stand_in, wake)
    runtime = LocalRuntime(
        instance=instance,
        serve=components.serve(settings, instance, logs, stand_in),
        forks=forks,
        on_exit=wake,
        tell=notes,
    )
    stack.push_async_callback(runtime.close)
    prober = Prober(timeout=settings.probe_timeout, listening=runtime.listening, changed=wake)
    stack.push_async_callback(prober.close)
    description = Described(Description())
    routes = Routes(
        components.limits(settings),
        gates=lambda route: description.gate(cache.path(route.artifact), route.options.validation),
        broke=wake,
        tell=notes,
        wake=call,
    )
    stack.push_async_callback(routes.close)
    totals = Totals()

    def publish(published: Sequence[Route]) -> bool:
        totals.keep(route.key for route in published)
        return routes.publish(published)

    admission = components.admission(settings)
    reconciler = Reconciler(
        deployments=deployments,
        ports=ports,
        world=Collaborators(
            runtime=runtime,
            prober=prober,
            prepare=components.preparation(cache, registry, description, notes),
            compare=components.comparison(settings, description, cache),
            publish=publish,
            traffic=routes.traffic,
            holder=sockets.holder,
            ending=logs.ending,
            tidy=logs.tidy,
            refuse=routes.refuse,
            measure=lambda handles: asyncio.to_thread(
                measure, instance, handles, forks=forks is not None
            ),
            crew_of=crew_of,
            admission=admission,
        ),
        policy=settings.policy,
        probe_interval=settings.probe_interval,
        quarantine=settings.port_quarantine,
        start_concurrency=settings.start_concurrency,
    )
    wake.target, notes.target, call.target = (
        reconciler.wake,
        reconciler.note,
        reconciler.request_wake,
    )
    return _Core(
        instance,
        deployments,
        ports,
        cache,
        description,
        registry,
        logs,
        routes,
        totals,
        reconciler,
        admission,
    )


def _telemetry(core: _Core, watch: Watch, stack: contextlib.AsyncExitStack) -> Telemetry:
    memory = MemoryGauge(core.instance)
    stack.push_async_callback(memory.close)
    return Telemetry(
        deployments=core.deployments,
        ports=core.ports,
        counters=core.routes.counters,
        totals=core.totals,
        captures=watch.keeper.state,
        idle=lambda: core.reconciler.idle,
        memory=memory,
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


def _look_on(looking: Coroutine[Any, Any, None], stack: contextlib.AsyncExitStack) -> None:
    """Have the dashboard look at what happens, until the end."""
    task = asyncio.create_task(looking, name="dashboard")

    async def look_away() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(look_away)


class _Late:
    """A callback whose target is made later; until then it does nothing."""

    def __init__(self) -> None:
        self.target: Any = None

    def __call__(self, *arguments: Any) -> None:
        if self.target is not None:
            self.target(*arguments)
