"""The program of the warm parent: how one is started, and how one that is not needed is told to end."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import model_deployment
from model_deployment.worker import protocol

#: Room for the environment and for the title of a fork, in bytes, see ``worker/surroundings.py``.
_ENVIRONMENT_ROOM, _TITLE_ROOM = 8192, 256


@dataclass(frozen=True)
class ParentProcess:
    """What a parent is, and where."""

    #: Holds its socket; nobody else may look into it.
    folder: Path
    log: Path
    preload: Sequence[str]
    environment: Mapping[str, str]
    python: str = sys.executable
    #: Seconds that it waits for another controller when it has nothing to do.
    linger: float = 5.0
    #: Seconds it may take to answer.
    patience: float = 12.0

    @property
    def name(self) -> str:
        """The file name of its socket."""
        return protocol.socket_name(self.preload)

    def spawn(self) -> "subprocess.Popen[bytes]":
        """Start one, in a session of its own, which does not end with this process."""
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
        with os.fdopen(
            os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb"
        ) as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                # Where this very package is, so that both are of one version.
                cwd=Path(model_deployment.__file__).parent.parent,
                start_new_session=True,
                close_fds=True,
            )


def retire(path: Path) -> None:
    """Have the parent that listens on a socket end with the last of its launches.

    Raises:
        OSError: there is none.
    """
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
            other.settimeout(2)
            other.connect(f"/proc/self/fd/{folder}/{path.name}")
            other.sendall(protocol.encode({"op": "end", "id": 1}))
            other.recv(4096)
    finally:
        os.close(folder)
