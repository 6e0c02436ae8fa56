"""Builds the serving side: state, registry, processes, the data plane, and the control loop."""

import contextlib
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from model_deployment.app import components
from model_deployment.app.components import StandIn
from model_deployment.app.proxies import build_data_plane
from model_deployment.app.runtimes import build_launching
from model_deployment.control.collaborators import Collaborators
from model_deployment.control.deployment_environments import DeploymentEnvironments
from model_deployment.control.probes import Prober
from model_deployment.control.reconciler import Reconciler
from model_deployment.core.admission import Admission
from model_deployment.core.domain import Deployment
from model_deployment.core.measures import LaunchTraffic
from model_deployment.core.names import ModelKey
from model_deployment.credentials.verify import Credentials
from model_deployment.data_plane.data_plane import DataPlane, PlaneEvents
from model_deployment.endpoints.kept_ready import KeptReady
from model_deployment.registry.artifact_sizes import ArtifactSizes, listing
from model_deployment.registry.artifacts import ArtifactCache
from model_deployment.registry.client import Registry
from model_deployment.registry.mlmodel import MLmodelReader
from model_deployment.registry.mlmodel_cache import MLmodelCache
from model_deployment.runtime.base import Runtime
from model_deployment.runtime.logs import LaunchLogs
from model_deployment.runtime.memory import machine_memory
from model_deployment.runtime.processors import processors
from model_deployment.settings import Settings
from model_deployment.state.database import Database
from model_deployment.state.deployments import Deployments
from model_deployment.state.launches import Launches
from model_deployment.state.ports import Ports
from model_deployment.state.replacements import Replacements


@dataclass(frozen=True)
class _Stores:
    """What the control loop and the other parts both use."""

    instance: str
    deployments: Deployments
    launches: Launches
    replacements: Replacements
    ports: Ports
    cache: ArtifactCache
    description: MLmodelCache
    registry: Registry
    sizes: ArtifactSizes
    logs: LaunchLogs
    admission: Admission


@dataclass(frozen=True)
class ServingParts(_Stores):
    """What deploys and serves models, whether its calls are recorded or not."""

    #: What starts launches; the addresses, logs, memory and identity of launches are its own.
    runtime: Runtime
    environments: DeploymentEnvironments
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

    def note(self, key: ModelKey, text: str, level: int = logging.WARNING) -> None:
        self.reconciler.note(key, text, level)

    def request_wake(self, key: ModelKey) -> None:
        self.reconciler.request_wake(key)


async def build_serving(
    settings: Settings,
    stand_in: StandIn | None,
    database: Database,
    listener: socket.socket,
    credentials: Credentials,
    changed: Callable[[Deployment, Deployment], None],
    stack: contextlib.AsyncExitStack,
) -> ServingParts:
    """Build the parts; the stack closes them.

    Args:
        listener: the socket that callers connect to.
        changed: told of each change of a deployment: the row before, and after.
    """
    stores = await _open_stores(settings, database)
    to_reconciler = _ToReconciler()
    events = PlaneEvents(to_reconciler.wake, to_reconciler.request_wake, to_reconciler.note)
    plane = await build_data_plane(settings, stores.instance, listener, credentials, events)
    stack.push_async_callback(plane.close)
    launching = build_launching(
        settings,
        stores.instance,
        stores.logs,
        stand_in,
        wake=to_reconciler.wake,
        note=to_reconciler.note,
    )
    runtime = launching.runtime
    stack.push_async_callback(runtime.close)
    environments = DeploymentEnvironments(
        launching.environments, stores.cache.path, settings.memory_guess_parent
    )
    stores = replace(stores, admission=replace(stores.admission, parent=environments.parent))
    kept_ready = KeptReady()
    traffic = _traffic(plane, kept_ready)

    to_reconciler.reconciler = Reconciler(
        deployments=stores.deployments,
        launches=stores.launches,
        replacements=stores.replacements,
        ports=stores.ports,
        world=replace(
            _collaborators(settings, stores, runtime, plane, traffic, to_reconciler, stack),
            changed=changed,
            tidy_environments=environments.tidy,
        ),
        policy=settings.policy,
        probe_interval=settings.probe_interval,
        quarantine=settings.port_quarantine,
        start_concurrency=settings.start_concurrency,
        scaling=settings.scaling,
    )
    return ServingParts(
        **vars(stores),
        runtime=runtime,
        environments=environments,
        data_plane=plane,
        reconciler=to_reconciler.reconciler,
        kept_ready=kept_ready,
    )


def _traffic(plane: DataPlane, kept_ready: KeptReady) -> Callable[[str], LaunchTraffic]:
    """What proxies have seen of a launch; one that is kept ready is never idle."""

    def traffic(launch_id: str) -> LaunchTraffic:
        found = plane.traffic(launch_id)
        return replace(found, idle=0.0) if kept_ready.has_launch(launch_id) else found

    return traffic


async def _open_stores(settings: Settings, database: Database) -> _Stores:
    ports = Ports(database, *settings.ports)
    await ports.fill()
    cache = ArtifactCache(settings.data_dir / "models")
    cache.open()
    instance = await database.instance_id()
    registry = Registry(
        tracking_uri=settings.tracking_uri,
        registry_uri=settings.registry_uri,
        timeout=settings.registry_timeout,
        download_timeout=settings.download_timeout,
        own=settings.owns_registry,
    )
    listed = listing(registry, settings.tracking_uri, settings.registry_uri)
    sizes = ArtifactSizes(cache.path, listed)
    return _Stores(
        instance=instance,
        deployments=Deployments(database),
        launches=Launches(database),
        replacements=Replacements(database),
        ports=ports,
        cache=cache,
        description=MLmodelCache(MLmodelReader()),
        registry=registry,
        sizes=sizes,
        logs=LaunchLogs(settings.data_dir / "logs", settings.log_max_bytes),
        admission=Admission(
            lambda: machine_memory().available,
            guess=settings.memory_guess,
            guess_of_fork=settings.memory_guess_fork,
            margin=settings.memory_margin,
            loading=sizes.of,
        ),
    )


def _collaborators(
    settings: Settings,
    stores: _Stores,
    runtime: Runtime,
    plane: DataPlane,
    traffic: Callable[[str], LaunchTraffic],
    to_reconciler: _ToReconciler,
    stack: contextlib.AsyncExitStack,
) -> Collaborators:
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
        counters=plane.counters,
        answered=lambda key: plane.counts.served.totals.of(key).answered,
        refuse=plane.refuse,
        admission=stores.admission,
        cores=processors,
    )
