"""The real command line and the real controller, with stub model servers in MLflow's place.

Started as ``python -m tests.support.stub_controller serve``. With ``NODE`` in its environment, the host of
a node, its models run there. With ``ENVIRONMENTS``, environments are built.
"""

import atexit
import gc
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from model_deployment.__main__ import main
from model_deployment.app import server
from model_deployment.app.components import StandIn
from model_deployment.core.domain import Address, LaunchSpec
from model_deployment.environments.environment import Environment
from model_deployment.environments.store import Environments
from model_deployment.runtime.base import OnExit
from model_deployment.runtime.logs import LaunchLogs
from model_deployment.runtime.mlflow_serve import mlflow_command
from model_deployment.settings import Settings
from tests.support import companion_forks
from tests.support.node_runtime import PORT, NodeRuntime

PROGRAM = Path(__file__).with_name("stub_model_server.py")


def stub_command(spec: LaunchSpec, built: Environment | None = None) -> list[str]:
    """The argument vector of ``mlflow models serve``, given to the stub."""
    python, *_mlflow_models_serve = (vector := mlflow_command(60)(spec, built))[:5]
    assert _mlflow_models_serve == ["-m", "mlflow", "models", "serve"], vector
    # Without site-packages it is up in half the time.
    return [python, "-S", "-E", str(PROGRAM), *vector[5:]]


def on_node(instance: str, logs: LaunchLogs, on_exit: OnExit) -> NodeRuntime:
    """See :data:`model_deployment.app.components.MakeRuntime`."""
    return NodeRuntime(Address(os.environ["NODE"], PORT), logs, on_exit=on_exit)


def environments(settings: Settings, changed: Callable[[], None]) -> Environments:
    """Those of the real controller."""
    return Environments(
        root=settings.data_dir / "environments",
        environment=settings.model_environment,
        timeout=settings.build_timeout,
        changed=changed,
    )


def run() -> None:
    """The command line of ``sys.argv``."""
    # Started a hundred times, it spends half of its time on looking for garbage in MLflow's modules.
    gc.set_threshold(100_000, 50, 100)
    atexit.register(gc.freeze)
    companion_forks.install()
    stand_in = StandIn(
        stub_command,
        str(PROGRAM),
        contained="/stub/stub_model_server.py",
        runtime=on_node if "NODE" in os.environ else None,
        environments=environments if "ENVIRONMENTS" in os.environ else None,
    )
    server.serve = partial(server.serve, stand_in=stand_in)
    main()


if __name__ == "__main__":
    run()
