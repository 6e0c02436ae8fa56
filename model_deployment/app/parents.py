"""Builds the warm parents: that of the controller's own environment, and those of built ones."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from model_deployment.app.components import StandIn
from model_deployment.core.options import EnvManager
from model_deployment.environments.environment import Environment
from model_deployment.runtime.forkserver import ForkSettings, ForkStarter
from model_deployment.runtime.logs import PARENT, LaunchLogs
from model_deployment.runtime.parent_process import ParentProcess, parent_of
from model_deployment.runtime.parents import EnvironmentForks, FindEnvironment, Parents
from model_deployment.runtime.starter import path_with
from model_deployment.settings import Settings


@dataclass(frozen=True)
class _ForksOf:
    """Makes what forks in an environment."""

    settings: Settings
    instance: str
    logs: LaunchLogs
    stand_in: StandIn | None
    changed: Callable[[], None]

    def own(self) -> ForkStarter:
        settings = self.settings
        process = ParentProcess(
            folder=settings.data_dir / "worker",
            log=self.logs.path(PARENT),
            preload=() if self.stand_in else settings.preload,
            environment=settings.model_environment(EnvManager.LOCAL),
        )
        return ForkStarter(self._terms(None), process, self.changed)

    def built(self, environment: Environment, folder: Path) -> ForkStarter:
        variables = self.settings.model_environment(EnvManager.LOCAL)
        process = parent_of(
            environment,
            folder,
            self.logs.path(PARENT),
            _programs(self.settings),
            {**variables, "PATH": path_with(environment, variables)},
            self.settings.preload,
        )
        if self.stand_in:
            process = replace(process, preload=())
        return ForkStarter(self._terms(environment), process, self.changed)

    def _terms(self, environment: Environment | None) -> ForkSettings:
        return ForkSettings(
            instance=self.instance,
            logs=self.logs.root,
            work=self.settings.data_dir / "work",
            environment=self.settings.model_environment,
            request_timeout=self.settings.request_timeout,
            program=self.stand_in.program if self.stand_in else "",
            built=environment,
        )


def _programs(settings: Settings) -> Path:
    """Has copies of our programs for the Pythons of environments."""
    return settings.data_dir / "programs"


def build_parents(
    settings: Settings,
    instance: str,
    logs: LaunchLogs,
    stand_in: StandIn | None,
    find: FindEnvironment | None,
    changed: Callable[[], None],
) -> Parents | None:
    """What forks; None where the system cannot.

    Args:
        find: finds a built environment by its digest; None where none is built.
        changed: called when launches that waited for a parent may go on.
    """
    if sys.platform != "linux":
        return None
    make = _ForksOf(settings, instance, logs, stand_in, changed)
    own = make.own()
    options = settings.options
    if options.forks and options.env_manager is EnvManager.LOCAL:
        own.warming()
    environments = find and EnvironmentForks(settings.data_dir / "worker", make.built, find)
    return Parents(own, environments, changed=changed)
