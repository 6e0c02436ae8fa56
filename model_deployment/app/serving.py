"""Builds the serving side: state, registry, processes, the data plane, and the control loop."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from model_deployment.app import components
from model_deployment.app.components import StandIn
from model_deployment.app.proxies import build_data_plane
from model_deployment.control.collaborators import Collaborators
from model_deployment.control.probes import Prober
from model_deployment.control.reconciler import Reconciler
from model_deployment.core.admission import Admission
from model_deployment.core.domain import Deployment, LaunchTraffic
from model_deployment.core.names import ModelKey
from model_deployment.credentials.verify import Credentials
from model_deployment.data_plane.data_plane import DataPlane, PlaneEvents
from model_deployment.endpoints.kept_ready import KeptReady
from model_deployment.registry.artifacts import ArtifactCache
from model_deployment.registry.client import Registry
from model_deployment.registry.mlmodel import MLmodelReader
from model_deployment.registry.mlmodel_cache import MLmodelCache
from model_deployment.runtime import sockets
from model_deployment.runtime.launch_memory import LaunchMemory
from model_deployment.runtime.local import LocalRuntime
from model_deployment.runtime.logs import LaunchLogs
from model_deployment.runtime.memory import free_memory
from model_deployment.runtime.mlflow_serve import ServeStarter, mlflow_command
from model_deployment.runtime.worker_counts import worker_counts
from model_deployment.settings import Settings
from model_deployment.state.database import Database
from model_deployment.state.deployments import Deployments
from model_deployment.state.ports import Ports


@dataclass(frozen=True)
class _Stores:
    """What the control loop and the other parts both use."""

    instance: str
    deployments: Deployments
    ports: Ports
    cache: ArtifactCache
    description: MLmodelCache
    registry: Registry
    logs: LaunchLogs
    admission: Admission
    memory: LaunchMemory


@dataclass(frozen=True)
class ServingParts(_Stores):
    """What deploys and serves models, whether its calls are recorded or not."""

    data_plane: DataPlane
    reconciler: Reconciler
    #: Deployments that are not parked, however idle they are.
    kept_ready: KeptReady

    def describe(self, row: Deployment) -> tuple[dict[str, Any] | None, Any, Any]:
        """The signature, an input example and a request of a deployed model, as its files have them."""
        return self.description.read(self.cache.path(row.artifact))


class _ToReconciler:
    """What the other parts call the control loop for, which is built after them and before any call."""

    reconciler: Reconciler

    def wake(self) -> None:
        self.reconciler.wake()

    def note(self, key: ModelKey, text: str) -> None:
        self.reconciler.note(key, text)

    def request_wake(self, key: ModelKey) -> None:
        self.reconciler.request_wake(key)


async def build_serving(
    settings: Settings,
    stand_in: StandIn | None,
    database: Database,
    listener: socket.socket,
    credentials: Credentials,
    stack: contextlib.AsyncExitStack,
) -> ServingParts:
    """Build the parts; the stack closes them.

    Args:
        listener: the socket that callers connect to.
    """
    stores = await _open_stores(settings, database)
    to_reconciler = _ToReconciler()
    events = PlaneEvents(to_reconciler.wake, to_reconciler.request_wake, to_reconciler.note)
    plane = await build_data_plane(settings, stores.instance, listener, credentials, events)
    stack.push_async_callback(plane.close)
    kept_ready = KeptReady()

    def traffic(launch_id: str) -> LaunchTraffic:
        found = plane.traffic(launch_id)
        return replace(found, idle=0.0) if kept_ready.has_launch(launch_id) else found

    to_reconciler.reconciler = Reconciler(
        deployments=stores.deployments,
        ports=stores.ports,
        world=_collaborators(settings, stand_in, stores, plane, traffic, to_reconciler, stack),
        policy=settings.policy,
        probe_interval=settings.probe_interval,
        quarantine=settings.port_quarantine,
        start_concurrency=settings.start_concurrency,
    )
    return ServingParts(
        **vars(stores),
        data_plane=plane,
        reconciler=to_reconciler.reconciler,
        kept_ready=kept_ready,
    )


async def _open_stores(settings: Settings, database: Database) -> _Stores:
    ports = Ports(database, *settings.ports)
    await ports.fill()
    cache = ArtifactCache(settings.data_dir / "models")
    cache.open()
    instance = await database.instance_id()
    return _Stores(
        instance=instance,
        deployments=Deployments(database),
        ports=ports,
        cache=cache,
        description=MLmodelCache(MLmodelReader()),
        registry=Registry(
            tracking_uri=settings.tracking_uri,
            registry_uri=settings.registry_uri,
            timeout=settings.registry_timeout,
            download_timeout=settings.download_timeout,
            own=settings.owns_registry,
        ),
        logs=LaunchLogs(settings.data_dir / "logs", settings.log_max_bytes),
        admission=Admission(
            free_memory,
            guess=settings.memory_guess,
            guess_of_fork=settings.memory_guess_fork,
            margin=settings.memory_margin,
        ),
        memory=LaunchMemory(instance),
    )


def _collaborators(
    settings: Settings,
    stand_in: StandIn | None,
    stores: _Stores,
    plane: DataPlane,
    traffic: Callable[[str], LaunchTraffic],
    to_reconciler: _ToReconciler,
    stack: contextlib.AsyncExitStack,
) -> Collaborators:
    instance, logs = stores.instance, stores.logs
    forks = components.forks(settings, instance, logs, stand_in, to_reconciler.wake)
    runtime = LocalRuntime(
        instance=instance,
        serve=ServeStarter(
            instance=instance,
            logs=logs.root,
            work=settings.data_dir / "work",
            command=stand_in.command if stand_in else mlflow_command(settings.request_timeout),
            environment=settings.model_environment,
        ),
        forks=forks,
        on_exit=to_reconciler.wake,
        add_event=to_reconciler.note,
    )
    stack.push_async_callback(runtime.close)
    prober = Prober(
        timeout=settings.probe_timeout, listening=runtime.listening, changed=to_reconciler.wake
    )
    stack.push_async_callback(prober.close)

    return Collaborators(
        runtime=runtime,
        prober=prober,
        prepare=components.preparation(
            stores.cache, stores.registry, stores.description, to_reconciler.note
        ),
        compare=components.comparison(settings, stores.description, stores.cache),
        publish=plane.publish,
        traffic=traffic,
        holder=sockets.holder,
        ending=logs.ending,
        tidy=logs.tidy,
        refuse=plane.refuse,
        measure=lambda handles: asyncio.to_thread(
            stores.memory.measure, handles, forks=forks is not None
        ),
        worker_counts=worker_counts,
        admission=stores.admission,
    )
