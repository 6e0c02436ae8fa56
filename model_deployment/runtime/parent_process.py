"""The program of the warm parent."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from model_deployment.environments.environment import Environment
from model_deployment.runtime import program_copies
from model_deployment.runtime.starter import spawn
from model_deployment.worker import program_files, protocol

#: Room for the environment and for the title of a fork, in bytes, see ``worker/process_setup.py``.
_ENVIRONMENT_ROOM, _TITLE_ROOM = 8192, 256
#: What every MLflow model needs, whatever its environment has.
_SERVING = ("numpy", "pandas", "cloudpickle", "mlflow.pyfunc.scoring_server")
#: What MLflow loads a model with, by a package that the model requires.
_FLAVORS = {
    name: f"mlflow.{name}"
    for name in ("catboost", "lightgbm", "sklearn", "spacy", "statsmodels", "tensorflow", "xgboost")
} | {"torch": "mlflow.pytorch", "onnxruntime": "mlflow.onnx"}
_LOADED = {module: package for package, module in _FLAVORS.items()}
#: Variables that would have Python read files of another one.
_PYTHON_VARIABLES = frozenset({"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"})


@dataclass(frozen=True)
class ParentProcess:
    """How a parent is started, and where it listens."""

    #: Holds the socket; only its owner may read it. Each environment has a folder of its own: a parent in
    #: the same folder with another name is one of another version, and is retired.
    folder: Path
    log: Path
    preload: Sequence[str]
    environment: Mapping[str, str]
    python: str = sys.executable
    #: Names the interpreter and its packages; empty: those of this process.
    interpreter: str = ""
    #: Has the copies of our programs that another interpreter runs, see :mod:`.program_copies`. None: this
    #: very package is run.
    programs: Path | None = None
    #: Seconds that a parent without launches waits for another controller.
    linger: float = 5.0
    #: Seconds that it may take to import everything: longer than ``worker/preload.py`` allows.
    start_timeout: float = 120.0
    #: Seconds that an answer may take.
    patience: float = 12.0

    @property
    def name(self) -> str:
        """The file name of the socket. Looks up what is installed, which takes milliseconds."""
        return protocol.socket_name(self.preload, self.interpreter or protocol.own_interpreter())

    def spawn(self, name: str) -> "subprocess.Popen[bytes]":
        """Start it. Blocks.

        Args:
            name: that of its socket, :attr:`name`.

        Raises:
            OSError: it cannot be started.
        """
        command = [
            self.python, "-m", "model_deployment.worker",
            "--folder", str(self.folder),
            "--name", name,
            "--preload", ",".join(self.preload),
            "--linger", str(self.linger),
            "--padding=" + "-" * _TITLE_ROOM,
        ]  # fmt: skip
        environment = {**self.environment, "PYTHONUNBUFFERED": "1"}
        environment["MODEL_DEPLOYMENT_PADDING"] = "-" * _ENVIRONMENT_ROOM
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        # The folder of this very package or a copy of it, so that both are of one version.
        package = program_files.PACKAGE.parent
        if self.programs is not None:
            package = program_copies.install(self.programs)
        return spawn(command, self.log, "", environment, package)


def parent_of(
    environment: Environment,
    folder: Path,
    log: Path,
    copies: Path,
    variables: Mapping[str, str],
    common: Sequence[str] = (),
) -> ParentProcess:
    """The parent of the models that an environment serves.

    Args:
        folder: for the socket of this parent alone.
        copies: where copies of our programs are made, for all environments.
        variables: the environment of the process.
        common: modules that many models need; those of packages are taken that its models require.
    """
    packages = {name.partition(".")[0] for name in environment.modules}
    known = {*packages, "mlflow", "numpy", "pandas", "pyarrow", "scipy"}
    flavors = [_FLAVORS[name] for name in environment.modules if name in _FLAVORS]
    useful = [name for name in common if _package(name) in known]
    return ParentProcess(
        folder=folder,
        log=log,
        preload=tuple(dict.fromkeys((*_SERVING, *useful, *environment.modules, *flavors))),
        environment={
            name: value for name, value in variables.items() if name not in _PYTHON_VARIABLES
        },
        python=str(environment.python),
        interpreter=f"environment {environment.digest} {build_of(environment)}",
        programs=copies,
    )


def _package(module: str) -> str:
    """The package of a module; for one of MLflow that loads models, the package of those."""
    return _LOADED.get(module) or module.partition(".")[0]


def build_of(environment: Environment) -> str:
    """Another one when the environment was built anew: a parent has imported what was there before."""
    try:
        found = environment.folder.stat()
    except OSError:
        return ""
    return f"{found.st_dev} {found.st_ino}"
