"""The program of the warm parent."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import model_deployment
from model_deployment.runtime.starter import spawn
from model_deployment.worker import protocol

#: Room for the environment and for the title of a fork, in bytes, see ``worker/process_setup.py``.
_ENVIRONMENT_ROOM, _TITLE_ROOM = 8192, 256


@dataclass(frozen=True)
class ParentProcess:
    """How a parent is started, and where it listens."""

    #: Holds the socket; only its owner may read it.
    folder: Path
    log: Path
    preload: Sequence[str]
    environment: Mapping[str, str]
    python: str = sys.executable
    #: Seconds that a parent without launches waits for another controller.
    linger: float = 5.0
    #: Seconds that an answer may take.
    patience: float = 12.0

    @property
    def name(self) -> str:
        """The file name of the socket."""
        return protocol.socket_name(self.preload)

    def spawn(self) -> "subprocess.Popen[bytes]":
        command = [
            self.python, "-m", "model_deployment.worker",
            "--folder", str(self.folder),
            "--name", self.name,
            "--preload", ",".join(self.preload),
            "--linger", str(self.linger),
            "--padding=" + "-" * _TITLE_ROOM,
        ]  # fmt: skip
        environment = {**self.environment, "PYTHONUNBUFFERED": "1"}
        environment["MODEL_DEPLOYMENT_PADDING"] = "-" * _ENVIRONMENT_ROOM
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        # In the folder of this very package, so that both are of one version.
        package = Path(model_deployment.__file__).parent.parent
        return spawn(command, self.log, "", environment, package)
