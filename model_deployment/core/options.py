"""The options of a deployment, each declared once.

To add an option, add a field to :class:`Options`, declared with :func:`option`. These are made from the
field: the member of ``POST /deploy`` and of its answer, the flag of ``model-deployment deploy``, the
field of the dashboard's form and, with ``setting=True``, the setting that holds the default. The code that
obeys the option reads ``options.<name>``.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, Final, Literal, Self

from model_deployment.core.replicas import MAX_REPLICAS, Replicas

#: The value of an option whose value the controller chooses.
AUTO: Final = "auto"


class EnvManager(StrEnum):
    """``--env-manager`` of ``mlflow models serve``."""

    LOCAL = "local"
    UV = "uv"
    VIRTUALENV = "virtualenv"
    CONDA = "conda"


class StartMethod(StrEnum):
    """How the processes of a model are started."""

    AUTO = "auto"  # forkserver where possible: on Linux
    FORKSERVER = "forkserver"  # a fork of the warm parent
    SERVE = "serve"  # mlflow models serve
    CONTAINER = "container"  # a container of its own


class Validation(StrEnum):
    """How strictly requests are checked against the model's signature."""

    STRICT = "strict"  # reject what does not fit
    COERCE = "coerce"  # convert unambiguous values, drop unknown columns
    OBSERVE = "observe"  # accept everything, count what does not fit


#: Rows that ``batch_max_rows=auto`` merges into one call, at most. A row of a linear model costs 672 µs
#: alone, 3.6 among 256 and 1.7 among 1,024, whose callers all wait twice as long (measured).
AUTO_MAX_ROWS = 256

#: Bytes of a capture that fit into one MongoDB document, with its names and numbers spelled out.
MAX_CAPTURE_BYTES = 6 * 1024 * 1024


#: Bytes below which no model server starts, and which is more than an engine demands.
MIN_CONTAINER_MEMORY = 64 * 1024 * 1024
#: Bytes of memory of a container where nothing else is said.
CONTAINER_MEMORY = 2 * 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What is declared of one option beside its name and its default."""

    #: Makes the value from JSON: a StrEnum, int, float, tuple (column names) or Replicas.
    kind: type
    #: For the API and the command line.
    description: str
    #: For the dashboard's form.
    label: str
    #: Inclusive, except that a minimum of 0 is exclusive if ``positive``.
    minimum: float | None = None
    maximum: float | None = None
    positive: bool = False
    #: ``s``, ``d``: a duration, for which text like ``30m`` is accepted as well. ``bytes``: a size.
    unit: str = ""
    #: Names of special values.
    meanings: Mapping[float, str] = field(default_factory=dict)
    #: Words that may stand in place of a number.
    words: tuple[str, ...] = ()
    #: Whether a deployment that is ready obeys a change without a new launch.
    applies_at_once: bool = False
    #: Whether a setting of the same name holds the default, and the setting's own default where it differs.
    setting: bool = False
    setting_default: Any = None

    @property
    def choices(self) -> tuple[str, ...]:
        """The values of an option that has a few named ones; else empty."""
        return tuple(map(str, self.kind)) if issubclass(self.kind, StrEnum) else ()

    def read(self, value: Any) -> Any:
        """The value of the option that a JSON value stands for.

        Raises:
            ValueError, TypeError: it stands for none.
        """
        if self.is_range:
            return Replicas.read(value)
        return value if value in self.words else self.kind(value)

    @property
    def is_range(self) -> bool:
        """Whether it is a number of launches, or from one number to another."""
        return self.kind is Replicas

    @property
    def is_size(self) -> bool:
        """Whether text like ``512MiB`` is accepted as well."""
        return self.unit == "bytes"

    @property
    def is_list(self) -> bool:
        return self.kind is tuple

    @property
    def is_whole(self) -> bool:
        return self.kind is int

    @property
    def is_duration(self) -> bool:
        return self.unit in ("s", "d")


def as_json(value: Any) -> Any:
    """A value of an option as JSON has it."""
    if isinstance(value, Replicas):
        return value.as_json()
    return list(value) if isinstance(value, tuple) else value


def option(default: Any, kind: type, label: str, description: str, **more: Any) -> Any:
    declared = Declaration(kind=kind, label=label, description=description, **more)
    return field(default=default, metadata={"option": declared})


@dataclass(frozen=True, slots=True)
class Options:
    """How a deployment is served."""

    env_manager: EnvManager = option(
        EnvManager.LOCAL, EnvManager, "Environment",
        "`--env-manager` of `mlflow models serve`: `local`, `uv`, `virtualenv` or `conda`.", setting=True,
    )  # fmt: skip
    start_method: StartMethod = option(
        StartMethod.AUTO, StartMethod, "Start method",
        "How model servers are started: `forkserver` forks a process that has imported MLflow, `serve` "
        "runs `mlflow models serve`, `container` starts a container of its own, `auto` forks where "
        "possible.",
        setting=True,
    )  # fmt: skip
    workers: int = option(
        1, int, "Worker processes", "Worker processes of the model server.", minimum=1, maximum=64
    )
    threads: int | Literal["auto"] = option(
        AUTO, int, "Computing threads",
        "Threads that each worker process computes with: those of OpenMP, BLAS, PyTorch, ONNX Runtime, "
        "XGBoost, LightGBM, CatBoost, TensorFlow and joblib. `auto` divides half of the processors among "
        "the worker processes of all deployments when a launch starts, at least 1.",
        minimum=1, maximum=1024, words=(AUTO,), setting=True,
    )  # fmt: skip
    replicas: Replicas = option(
        Replicas(), Replicas, "Replicas",
        "Model servers of the deployment that serve at the same time: a number like `2`, or a range like "
        "`1-4`, within which the controller follows the requests.",
        minimum=1, maximum=MAX_REPLICAS, applies_at_once=True,
    )  # fmt: skip
    memory_limit: int | Literal["auto"] = option(
        AUTO, int, "Memory limit",
        "Bytes of memory that a launch may use, with all its worker processes; in a container with its "
        "temporary files too. The kernel ends what needs more. `auto` is 2 GiB in a container, and no "
        "limit elsewhere. Outside of containers the system must let the controller make control groups.",
        minimum=MIN_CONTAINER_MEMORY, maximum=2**50, unit="bytes", words=(AUTO,), setting=True,
    )  # fmt: skip
    cpu_limit: float | Literal["auto"] = option(
        AUTO, float, "Processor limit",
        "Processors that a launch may use, for example 0.5. `auto` is one for each worker process in a "
        "container, and no limit elsewhere. Outside of containers the system must let the controller make "
        "control groups.",
        minimum=0.1, maximum=1024, words=(AUTO,), setting=True,
    )  # fmt: skip
    validation: Validation = option(
        Validation.STRICT, Validation, "Request validation",
        "How strictly requests are checked against the model's signature: `strict` rejects what does not "
        "fit, `coerce` converts unambiguous values, `observe` only counts what does not fit.",
        applies_at_once=True,
    )  # fmt: skip
    batch_max_rows: int | Literal["auto"] = option(
        AUTO, int, "Rows of a batch, at most",
        "Merge waiting requests into one call of the model with at most this many rows. `auto` merges up "
        f"to {AUTO_MAX_ROWS} rows, only where the model is known to predict each row by itself; 0 turns "
        "batching off. With a number, the deploy fails if the model predicts rows differently alone and in "
        "a batch.", minimum=0, maximum=100_000, meanings={0: "off"}, words=(AUTO,),
    )  # fmt: skip
    capture_rate: float = option(
        1.0, float, "Share of requests captured",
        "Share of the answered requests that are captured, from 0 (none) to 1 (all).",
        minimum=0, maximum=1, meanings={0: "none", 1: "all"}, setting=True, applies_at_once=True,
    )  # fmt: skip
    capture_exclude: tuple[str, ...] = option(
        (), tuple, "Columns not captured", "Columns that are not captured.", setting=True,
        applies_at_once=True,
    )  # fmt: skip
    capture_hash: tuple[str, ...] = option(
        (), tuple, "Columns captured as digests", "Columns whose values are captured as digests.",
        setting=True, applies_at_once=True,
    )  # fmt: skip
    max_capture_bytes: int = option(
        1024 * 1024, int, "Bytes captured of a request",
        "Largest capture in bytes, request and answer together; a larger request is recorded without its "
        "body.", minimum=0, maximum=MAX_CAPTURE_BYTES, unit="bytes", setting=True,
        applies_at_once=True,
    )  # fmt: skip
    #: None: as long as the document store keeps captures by default.
    retention_days: float | None = option(
        None, float, "Days captures are kept", "Days that captures are kept.",
        minimum=0, maximum=36500, positive=True, unit="d", setting=True, setting_default=30.0,
        applies_at_once=True,
    )  # fmt: skip
    idle_timeout: float = option(
        0.0, float, "Park when idle, seconds",
        "Seconds without a request after which the deployment is parked: its processes end and its port is "
        "released. The next request starts it again and waits. 0 turns parking off.",
        minimum=0, maximum=366 * 86400, meanings={0: "never"}, unit="s", setting=True,
        applies_at_once=True,
    )  # fmt: skip

    @classmethod
    def declarations(cls) -> dict[str, Declaration]:
        """What is declared of each option, in order, by name."""
        return {one.name: one.metadata["option"] for one in fields(cls)}

    @property
    def forks(self) -> bool:
        """Whether the processes are forked from a warm parent, where that can work."""
        forked = self.start_method in (StartMethod.AUTO, StartMethod.FORKSERVER)
        return forked and sys.platform == "linux"

    @property
    def builds(self) -> bool:
        """Whether a start may have to wait for the build of an environment, or of an image."""
        return self.contained or self.env_manager is not EnvManager.LOCAL

    @property
    def contained(self) -> bool:
        """Whether each launch is a container of its own."""
        return self.start_method is StartMethod.CONTAINER

    @property
    def container_memory(self) -> int:
        """How many bytes of memory a container may use."""
        return CONTAINER_MEMORY if self.memory_limit == AUTO else int(self.memory_limit)

    @property
    def processors(self) -> float:
        """How many processors a container may use. A machine may have fewer."""
        return float(self.workers) if self.cpu_limit == AUTO else float(self.cpu_limit)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, for the state row and for answers."""
        return {name: as_json(getattr(self, name)) for name in self.declarations()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`as_dict`; unknown members are ignored, missing ones take the default.

        Raises:
            ValueError: a member has no value that the option could have.
        """
        known: dict[str, Any] = {
            name: None if values[name] is None else one.read(values[name])
            for name, one in cls.declarations().items()
            if name in values
        }
        found = cls(**known)
        if "threads" not in values and not found.contained:
            # Of a release whose limits meant nothing here: they must not begin to hold with this one.
            return replace(found, memory_limit=AUTO, cpu_limit=AUTO)
        return found


class OptionOverrides:
    """The options that a deploy call names; the others keep their values."""

    def __init__(self, **named: Any) -> None:
        """With values by the names of options; None names nothing."""
        self._named = {name: value for name, value in named.items() if value is not None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """From JSON, as a policy keeps them.

        Raises:
            ValueError: a member has no value that the option could have.
        """
        known = Options.declarations()
        return cls(
            **{
                name: known[name].read(value)
                for name, value in values.items()
                if name in known and value is not None
            }
        )

    def apply_to(self, options: Options) -> Options:
        return replace(options, **self._named)
