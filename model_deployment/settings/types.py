"""The types of settings, and how their values are written in a variable."""

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode

from model_deployment.core import units
from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import ModelDeploymentError
from model_deployment.registry.data_files import allowed_folders

#: Modules that most models need: they take seconds to import, and memory that forked processes share.
COMMON_MODULES = (
    "numpy", "pandas", "pyarrow.pandas_compat", "scipy.sparse", "cloudpickle",
    "mlflow.pyfunc.scoring_server", "mlflow.sklearn", "sklearn.compose", "sklearn.ensemble",
    "sklearn.impute", "sklearn.linear_model", "sklearn.neighbors", "sklearn.pipeline",
    "sklearn.preprocessing", "sklearn.svm", "sklearn.tree", "skops.io",
)  # fmt: skip
#: Longer durations lead to dates that Python cannot represent.
_LONGEST_DAYS = 36500


def _read_duration(unit: str, per_day: float) -> tuple[BeforeValidator, AfterValidator]:
    def read(value: Any) -> Any:
        return units.duration(value, unit) if isinstance(value, str) else value

    def check(value: float) -> float:
        if value > _LONGEST_DAYS * per_day:
            raise ValueError(f"it is longer than {_LONGEST_DAYS} days")
        return value

    return BeforeValidator(read), AfterValidator(check)


def _read_size(value: Any) -> Any:
    return units.size(value) if isinstance(value, str) else value


def _read_names(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return tuple(name.strip() for name in value.split(",") if name.strip())


def _check_modules(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        if not all(part.isidentifier() for part in name.split(".")):
            raise ValueError(f"{name!r} is not the name of a module")
    return value


def _check_folders(value: tuple[str, ...]) -> tuple[str, ...]:
    allowed_folders(value)
    return value


def _read_ports(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    first, hyphen, last = value.partition("-")
    if not (hyphen and first.strip().isdecimal() and last.strip().isdecimal()):
        raise ValueError("write a range of ports as first-last, for example 8001-8100")
    return int(first), int(last)


def _check_ports(value: tuple[int, int]) -> tuple[int, int]:
    first, last = value
    if not 1024 <= first <= last <= 65535:
        raise ValueError("the range must lie within 1024-65535, with the smaller port first")
    return value


def _check_webhook(value: str) -> str:
    try:
        parts = urlsplit(value)
        fine = not value or (
            parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        )
    except ValueError:
        fine = False
    if not fine:
        raise ValueError("write https://HOST/PATH")  # without the value: it may contain a secret
    return value


def _check_flows_url(value: str) -> str:
    value = value.rstrip("/")
    try:
        parts = urlsplit(value)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.username
    except ValueError:
        fine = False
    if value and not (fine and value.endswith("/api")):
        raise ValueError("write http://HOST:PORT/api")
    return value


def _check_engine(value: str) -> str:
    try:
        parts = urlsplit(value)
        path = parts.path.rstrip("/")
        fine = {
            "unix": not parts.netloc and len(path) > 1,
            "http": bool(parts.hostname) and not path and not parts.username,
            "tcp": bool(parts.hostname and parts.port) and not path and not parts.username,
        }.get(parts.scheme, False)
    except ValueError:
        fine = False
    if not fine:
        raise ValueError("write unix:///PATH of a socket, or http://HOST:PORT")
    return value


def _check_endpoint(value: str) -> str:
    if value:
        try:
            EndpointName.parse(value)
        except ModelDeploymentError as error:
            raise ValueError(error.detail) from None
    return value


#: ``30s``, ``12h``, ``1h30m``; a bare number counts seconds, hours, days.
Seconds = Annotated[float, *_read_duration("s", 86400)]
Hours = Annotated[float, *_read_duration("h", 24)]
Days = Annotated[float, *_read_duration("d", 1)]
#: ``10MB``, ``512MiB``; a bare number counts bytes.
Bytes = Annotated[int, BeforeValidator(_read_size)]
#: ``first-last``.
PortRange = Annotated[
    tuple[int, int], NoDecode, BeforeValidator(_read_ports), AfterValidator(_check_ports)
]
#: ``NAME,NAME``.
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_read_names)]
Modules = Annotated[Names, AfterValidator(_check_modules)]
DataFolders = Annotated[Names, AfterValidator(_check_folders)]
EndpointText = Annotated[str, AfterValidator(_check_endpoint)]
WebhookUrl = Annotated[str, AfterValidator(_check_webhook)]
EngineUrl = Annotated[str, AfterValidator(_check_engine)]
FlowsUrl = Annotated[str, AfterValidator(_check_flows_url)]
LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR"],
    BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
]
