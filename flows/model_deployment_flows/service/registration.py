"""Whether Prefect's server knows the flows as they are now, and the program that tells it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import model_deployment_flows

_PROGRAM = "model_deployment_flows.service.register"


class Registration:
    """Registers flows where they have changed: importing Prefect and all that they need takes seconds."""

    def __init__(
        self, mark: Path, environment: Mapping[str, str], database: str, log: Path
    ) -> None:
        """
        Args:
            mark: the file that says what was registered last.
            environment: of the program.
        """
        self._mark = mark
        self._environment = environment
        self._log = log
        self._wanted = _digest(database)
        self._program: subprocess.Popen[bytes] | None = None

    def begin(self, *, force: bool = False) -> None:
        """Start the program if it is needed; it waits for the server itself."""
        if not force and self._mark.exists() and self._mark.read_text() == self._wanted:
            return
        with self._log.open("ab") as output:
            self._program = subprocess.Popen(
                [sys.executable, "-m", _PROGRAM],
                env=dict(self._environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
            )

    def is_done(self) -> bool:
        """Whether the server has the flows. Raises RuntimeError if it did not take them."""
        if self._program is None:
            return True
        code = self._program.poll()
        if code is None:
            return False
        self._program = None
        if code:
            raise RuntimeError(f"Prefect's server did not take the flows; {self._log} says why")
        self._mark.write_text(self._wanted)
        return True

    def abandon(self) -> None:
        if self._program is not None:
            self._program.kill()
            self._program.wait()
            self._program = None


def _digest(database: str) -> str:
    folder = Path(model_deployment_flows.__file__).parent
    files = sorted((path, path.stat()) for path in folder.rglob("*.py"))
    parts = [
        version("prefect"),
        database,
        *(f"{path} {at.st_size} {at.st_mtime_ns}" for path, at in files),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
