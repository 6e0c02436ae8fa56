"""What a run is told by its environment. No other module of this package reads it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

_AUTH = "MODEL_DEPLOYMENT_FLOWS_API_AUTH"
_DATABASE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
_DEFAULTS = ("IDLE_TIMEOUT", "PRIORITY", "THREADS")


class NotSet(LookupError):
    """A variable that a run needs is missing."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Where the data, the project, the registry and the controller are.

    `controller_url` is None where no controller is to be called.
    """

    data_dir: Path
    project: Path
    tracking_uri: str
    controller_url: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls) -> Self:
        """Raises NotSet, which names the variable, and OSError for a file that cannot be read."""
        return cls(
            data_dir=Path(_required("MODEL_DEPLOYMENT_DATA_DIR")),
            project=Path(_required("MODEL_DEPLOYMENT_FLOWS_PROJECT")),
            tracking_uri=_required("MLFLOW_TRACKING_URI"),
            controller_url=os.environ.get("MODEL_DEPLOYMENT_URL") or None,
            user=os.environ.get("MODEL_DEPLOYMENT_USER") or None,
            password=_secret("MODEL_DEPLOYMENT_PASSWORD") or None,
        )


@dataclass(frozen=True, slots=True)
class Secrets:
    """Of Prefect's server. They are in the environment, since everybody sees the arguments of a process."""

    auth: str = field(default="", repr=False)
    database: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ServiceEnvironment:
    """What the service needs itself, and what it hands on to runs."""

    data_dir: Path
    project: Path
    inherited: Mapping[str, str] = field(repr=False)

    @classmethod
    def read(cls) -> Self:
        """Raises NotSet, which names the variable."""
        of_run = Environment.read()
        secrets = {_AUTH, f"{_AUTH}_FILE", _DATABASE}
        inherited = {name: value for name, value in os.environ.items() if name not in secrets}
        return cls(of_run.data_dir.resolve(), of_run.project.resolve(), inherited)

    @staticmethod
    def defaults() -> dict[str, str]:
        """Options of the service that are set, by their names."""
        values = {
            name.lower(): os.environ.get(f"MODEL_DEPLOYMENT_FLOWS_{name}") for name in _DEFAULTS
        }
        return {name: value for name, value in values.items() if value}

    @staticmethod
    def secrets() -> Secrets:
        return Secrets(_secret(_AUTH), os.environ.get(_DATABASE, ""))


def _secret(name: str) -> str:
    """The variable, else what is in the file that ``<name>_FILE`` names."""
    file = os.environ.get(f"{name}_FILE")
    if name in os.environ or not file:
        return os.environ.get(name, "")
    return Path(file).read_text().strip()


def _required(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise NotSet(
            f"cannot run a flow: {name} is not set; `model-deployment flows serve` sets it"
        )
    return value
