"""What goes in over HTTP: parts of paths, and the options of a deploy."""

from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from model_deployment.control.controller import Choice
from model_deployment.core import units
from model_deployment.core.names import NAME, VERSION
from model_deployment.core.options import MAX_CAPTURE_BYTES, EnvManager, StartMethod, Validation

# The patterns are told and not checked here: ModelKey says in its own words what is wrong.
ModelName = Annotated[
    str,
    Path(
        description="Name of a registered model.",
        examples=["diabetes"],
        json_schema_extra={"pattern": f"^{NAME.pattern}$"},
    ),
]
ModelVersion = Annotated[
    str,
    Path(
        description="Version, a whole number.",
        examples=["1"],
        json_schema_extra={"pattern": f"^{VERSION.pattern}$"},
    ),
]
Key = Annotated[
    str,
    Path(
        description="`<model>-<version>`.",
        examples=["diabetes-1"],
        json_schema_extra={"pattern": f"^{NAME.pattern}-{VERSION.pattern}$"},
    ),
]
Wait = Annotated[
    float, Query(ge=0, le=3600, description="Seconds to wait for the outcome; 0 answers at once.")
]


def encodable(text: str) -> str:
    """Text that can be written down: half of a pair of UTF-16 cannot, and JSON lets it in.

    Raises:
        ValueError: it cannot.
    """
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("it has half a character in it") from None
    return text


def _duration(unit: str, number: Any, pattern: str) -> BeforeValidator:
    """A number is taken, and text like ``12h``; the pattern describes what is surely within the limits."""

    def read(value: Any) -> Any:
        return units.duration(value, unit) if isinstance(value, str) else value

    text = Annotated[str, Field(pattern=pattern)]
    return BeforeValidator(read, json_schema_input_type=number | text)


_idle_seconds = Annotated[float, Field(ge=0, le=366 * 86400)]
_kept_days = Annotated[float, Field(gt=0, le=36500)]
IdleTimeout = Annotated[_idle_seconds, _duration("s", _idle_seconds, "^[0-9]{1,3}[smh]$")]
RetentionDays = Annotated[_kept_days, _duration("d", _kept_days, "^[1-9][0-9]{0,2}[hd]$")]
ColumnName = Annotated[str, Field(min_length=1, max_length=250), AfterValidator(encodable)]


class DeployOptions(BaseModel):
    """How to serve; what is left out takes the default."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"workers": 2, "validation": "strict", "batch_max_rows": 256}]
        },
    )

    env_manager: EnvManager | None = Field(
        None, description="`--env-manager` of `mlflow models serve`."
    )
    start_method: StartMethod | None = Field(
        None,
        description="`forkserver` forks from a process that has imported MLflow, `serve` runs "
        "`mlflow models serve`, `auto` forks where that is possible.",
    )
    workers: int | None = Field(None, ge=1, le=64, strict=True, description="Server processes.")

    validation: Validation | None = Field(
        None,
        description="How hard requests are checked against the model's signature: `strict` refuses "
        "what does not fit, `coerce` converts what can be converted without doubt, `observe` counts.",
    )
    batch_max_rows: int | None = Field(
        None,
        ge=0,
        le=100_000,
        strict=True,
        description="Requests that wait for the model go to it as one call of up to so many rows; "
        "0 is off. The deploy fails if the model's predictions of rows together and apart differ.",
    )

    capture_rate: float | None = Field(
        None, ge=0, le=1, description="Share of the answered requests that are captured; 1 is all."
    )
    capture_exclude: tuple[ColumnName, ...] | None = Field(
        None, max_length=1000, description="Columns that are not captured."
    )
    capture_hash: tuple[ColumnName, ...] | None = Field(
        None, max_length=1000, description="Columns of which only digests are captured."
    )
    max_capture_bytes: int | None = Field(
        None,
        ge=0,
        le=MAX_CAPTURE_BYTES,
        description="Of larger requests and answers only the fact is captured.",
    )
    retention_days: RetentionDays | None = Field(
        None, description="Days that captures are kept; or text like `12h`."
    )

    idle_timeout: IdleTimeout | None = Field(
        None,
        description="Seconds without a request after which its processes are stopped and its port is "
        "released (`parked`); the next request starts them again and waits. 0 is off. Or text like `30m`.",
    )

    def choice(self) -> Choice:
        """As the controller takes it."""
        return Choice(**dict(self))
