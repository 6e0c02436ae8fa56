"""Builds what starts and watches launches, from the settings."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from model_deployment.app.components import StandIn
from model_deployment.app.parents import build_parents
from model_deployment.core.events import Note
from model_deployment.core.options import EnvManager
from model_deployment.environments.store import Environments
from model_deployment.runtime.base import Runtime
from model_deployment.runtime.by_method import RuntimeByMethod
from model_deployment.runtime.container.container_settings import ContainerSettings
from model_deployment.runtime.container.runtime import ContainerRuntime
from model_deployment.runtime.local import LocalRuntime
from model_deployment.runtime.logs import LaunchLogs
from model_deployment.runtime.mlflow_serve import ServeStarter, mlflow_command
from model_deployment.runtime.model_environments import EnvironmentStore, ModelEnvironments
from model_deployment.runtime.parents import Parents
from model_deployment.settings import Settings


@dataclass(frozen=True, slots=True)
class Launching:
    """What starts launches."""

    #: Its caller closes it.
    runtime: Runtime
    #: None where none is built: there is a stand-in for what is served.
    environments: ModelEnvironments | None


def build_launching(
    settings: Settings,
    instance: str,
    logs: LaunchLogs,
    stand_in: StandIn | None,
    *,
    wake: Callable[[], None],
    note: Note,
) -> Launching:
    """The runtime of a controller, with the environments of models.

    Args:
        instance: name of the data directory, which all launches carry.
        wake: has the control loop observe what has changed.
        note: adds a line to the events of a deployment.
    """
    if stand_in is not None and stand_in.runtime is not None:
        return Launching(stand_in.runtime(instance, logs, wake), None)
    store = _store(settings, stand_in, wake)
    parents = build_parents(settings, instance, logs, stand_in, store.find if store else None, wake)
    environments = None
    if store is not None:
        environments = ModelEnvironments(
            store,
            parents or Parents(None),
            partial(note, level=logging.INFO),
            settings.environment_grace,
        )
    local = LocalRuntime(
        instance=instance,
        serve=ServeStarter(
            instance=instance,
            logs=logs.root,
            work=settings.data_dir / "work",
            command=stand_in.command if stand_in else mlflow_command(settings.request_timeout),
            environment=settings.model_environment,
        ),
        parents=parents,
        environments=environments,
        logs=logs,
        on_exit=wake,
        add_event=note,
    )
    containers = ContainerSettings(
        instance=instance,
        root=settings.data_dir / "containers",
        url=settings.container_engine,
        base=settings.image_base,
        request_timeout=settings.request_timeout,
        build_timeout=settings.build_timeout,
        network=settings.image_network,
        environment=lambda: settings.model_environment(EnvManager.LOCAL),
        index=lambda: settings.build_environment,
        program=stand_in.contained if stand_in else "",
    )
    by_method = RuntimeByMethod(local, ContainerRuntime(containers, logs, on_exit=wake))
    return Launching(by_method, environments)


def _store(
    settings: Settings, stand_in: StandIn | None, changed: Callable[[], None]
) -> EnvironmentStore | None:
    if stand_in is not None:
        return stand_in.environments and stand_in.environments(settings, changed)
    return Environments(
        root=settings.data_dir / "environments",
        environment=settings.model_environment,
        timeout=settings.build_timeout,
        changed=changed,
    )
