"""What the controller works with, made from its settings: users, registry, starters of processes."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from model_deployment.core.domain import Deployment, Launch
from model_deployment.core.errors import CredentialsError
from model_deployment.core.merging import Finding
from model_deployment.core.names import ModelKey
from model_deployment.core.options import AUTO, AUTO_MAX_ROWS, Validation
from model_deployment.credentials.verify import Credentials
from model_deployment.proxy import row_independence
from model_deployment.registry.artifacts import ArtifactCache
from model_deployment.registry.client import Registry
from model_deployment.registry.mlmodel_cache import MLmodelCache
from model_deployment.runtime.base import OnExit, Runtime
from model_deployment.runtime.logs import LaunchLogs
from model_deployment.runtime.mlflow_serve import Command
from model_deployment.runtime.model_environments import EnvironmentStore
from model_deployment.settings import Settings

_log = logging.getLogger(__name__)


#: Makes a runtime from the name of the instance, the logs, and what is called when a launch has ended.
MakeRuntime = Callable[[str, LaunchLogs, OnExit], Runtime]


@dataclass(frozen=True, slots=True)
class StandIn:
    """What is started in the place of MLflow's model server, for tests."""

    #: The argument vector, in place of ``mlflow models serve``.
    command: Command
    #: The program that forks run, started with nothing preloaded.
    program: str
    #: What containers run, as their image has it; empty: a model's server.
    contained: str = ""
    #: Makes the runtime of all launches, in the place of this machine's.
    runtime: MakeRuntime | None = None
    #: Makes what builds environments, given what is called when one is ready; None: nothing is built, and
    #: what is started sees to its environment.
    environments: Callable[[Settings, Callable[[], None]], EnvironmentStore] | None = None


def credentials(settings: Settings, stack: contextlib.AsyncExitStack) -> Credentials:
    """The users, read.

    Raises:
        CredentialsError: there are none, and others could reach the controller; or they cannot be read.
    """
    credentials = Credentials(settings.credentials)
    stack.callback(credentials.close)
    credentials.open()
    if not credentials.required:
        if not settings.on_loopback:
            raise CredentialsError(
                f"cannot listen on {settings.host} without passwords: other machines can reach this "
                f"address; add users with 'model-deployment users init', or listen on 127.0.0.1"
            )
        _log.warning("there are no passwords: every program on this machine may do everything")
    return credentials


def comparison(
    settings: Settings, description: MLmodelCache, cache: ArtifactCache
) -> Callable[[Deployment, Launch], Awaitable[Finding]]:
    """Finds out whether requests to a launch may be merged."""

    async def compare(row: Deployment, launch: Launch) -> Finding:
        assert launch.handle is not None  # noqa: S101 - it answers its health checks
        path = cache.path(launch.artifact)
        # Forgiving: what MLflow itself saved as an example may not fit to the letter.
        gate = await asyncio.to_thread(description.gate, path, Validation.COERCE)
        example = await asyncio.to_thread(description.comparable, path)
        address = launch.handle.address
        if launch.options.batch_max_rows == AUTO:
            flavors = await asyncio.to_thread(description.flavors, path)
            return await row_independence.examine(address, gate, example, flavors, AUTO_MAX_ROWS)
        most = int(launch.options.batch_max_rows)
        limit = settings.request_timeout
        difference = await row_independence.compare(address, gate, example, limit, most)
        return Finding(not difference, difference or "rows are predicted alike alone and together")

    return compare


def preparation(
    cache: ArtifactCache,
    registry: Registry,
    description: MLmodelCache,
    note: Callable[[ModelKey, str], None],
) -> Callable[[Deployment, Launch], Awaitable[Path]]:
    """Makes sure of the artifacts of a launch, and reads what is told of them.

    Args:
        note: puts something among the events of a deployment.
    """

    async def prepare(row: Deployment, launch: Launch) -> Path:
        path = await cache.ensure(
            launch.artifact, partial(registry.download, row.key), partial(note, row.key)
        )
        # Here, on a thread, and not when the launch is ready: that is while others predict.
        with contextlib.suppress(Exception):  # is told when it is published
            place = cache.path(launch.artifact)
            await asyncio.to_thread(description.gate, place, launch.options.validation)
        return path

    return prepare
