"""What a deploy may choose."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any


class EnvManager(StrEnum):
    """``--env-manager`` of ``mlflow models serve``."""

    LOCAL = "local"
    UV = "uv"
    VIRTUALENV = "virtualenv"
    CONDA = "conda"


class StartMethod(StrEnum):
    """How the processes of a model are started."""

    AUTO = "auto"  # forkserver where it can be used: on Linux, with env_manager local
    FORKSERVER = "forkserver"  # a fork of a parent that has imported MLflow and more
    SERVE = "serve"  # mlflow models serve


class Validation(StrEnum):
    """How hard requests are checked against the model's signature."""

    STRICT = "strict"  # refuse whatever does not fit
    COERCE = "coerce"  # convert what can be converted without doubt, drop what is unknown
    OBSERVE = "observe"  # pass everything, and count


#: Bytes of a capture that a document of MongoDB has room for, with its names and numbers spelled out.
MAX_CAPTURE_BYTES = 6 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Options:
    """What a deploy may choose."""

    env_manager: EnvManager = EnvManager.LOCAL
    #: uvicorn worker processes of the model server.
    workers: int = 1
    validation: Validation = Validation.STRICT
    #: Rows of waiting requests that go to the model as one call; 0 lets each go by itself.
    batch_max_rows: int = 0
    #: Share of the answered requests that are captured.
    capture_rate: float = 1.0
    #: Columns that are not captured.
    capture_exclude: tuple[str, ...] = ()
    #: Columns of which only digests are captured.
    capture_hash: tuple[str, ...] = ()
    #: Bytes of a request and its answer; of larger ones only the fact is captured.
    max_capture_bytes: int = 1024 * 1024
    #: Days that captures are kept; None takes the store's own.
    retention_days: float | None = None
    #: Seconds without a request after which it is parked; 0 never parks it.
    idle_timeout: float = 0.0
    start_method: StartMethod = StartMethod.AUTO

    @property
    def forks(self) -> bool:
        """Whether its processes are forked from a warm parent, where that can work."""
        local = self.env_manager is EnvManager.LOCAL and sys.platform == "linux"
        return local and self.start_method is not StartMethod.SERVE

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, for the state row and for answers."""
        return {
            "env_manager": str(self.env_manager),
            "start_method": str(self.start_method),
            "workers": self.workers,
            "validation": str(self.validation),
            "batch_max_rows": self.batch_max_rows,
            "capture_rate": self.capture_rate,
            "capture_exclude": list(self.capture_exclude),
            "capture_hash": list(self.capture_hash),
            "max_capture_bytes": self.max_capture_bytes,
            "retention_days": self.retention_days,
            "idle_timeout": self.idle_timeout,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Options":
        """The inverse of :meth:`as_dict`; unknown members are ignored, missing ones defaulted."""
        known = {field.name for field in fields(cls)} & values.keys()
        return cls(**{name: _READ.get(name, _as_it_is)(values[name]) for name in known})


#: How members are read that JSON does not have as they are.
_READ: Mapping[str, Callable[[Any], Any]] = {
    "env_manager": EnvManager,
    "start_method": StartMethod,
    "validation": Validation,
    "capture_rate": float,
    "capture_exclude": tuple,
    "capture_hash": tuple,
    "idle_timeout": float,
}


def _as_it_is(value: Any) -> Any:
    return value
