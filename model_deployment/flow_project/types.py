"""Types of the values in ``settings.yaml``, and how they are written there."""

import re
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from model_deployment.core import units
from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import ModelDeploymentError

#: An experiment's name becomes a file name, a tag and a part of an address.
EXPERIMENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)
#: A model type is chosen by this name; ``auto`` lets the study choose among all.
MODEL_TYPE = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
AUTO = "auto"
_DATA_SUFFIXES = (".csv", ".parquet")


class Part(BaseModel):
    """A mapping in the file: unknown keys and values of another type are refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class Misplaced(ValueError):
    """What is wrong with a value below the one that is checked."""

    def __init__(self, message: str, *path: str) -> None:
        super().__init__(message)
        #: The keys that lead to the value.
        self.path = path


def _seconds(value: Any) -> Any:
    return units.duration(value) if isinstance(value, str) else value


def _bytes(value: Any) -> Any:
    return units.size(value) if isinstance(value, str) else value


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _cell(value: Any) -> Any:
    """A number stands for the text of such a cell; YAML reads ``no`` and ``2024-01-31`` as other types."""
    return str(value) if type(value) in (int, float) else value


def _class(value: str) -> str:
    module, colon, name = value.partition(":")
    if not (colon and name.isidentifier() and all(map(str.isidentifier, module.split(".")))):
        raise ValueError(
            "write module:Class, for example experiments.income:Income for the class Income in "
            "experiments/income.py"
        )
    return value


def _data(value: str) -> str:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or "\0" in value:
        raise ValueError("write a path inside the project, for example data/income.csv")
    if path.suffix.lower() not in _DATA_SUFFIXES:
        raise ValueError("write the path of a .csv or .parquet file")
    return value


def _model_type(value: str) -> str:
    if value == AUTO or not MODEL_TYPE.fullmatch(value):
        raise ValueError(
            "write lower-case letters, digits and '_', beginning with a letter; the name 'auto' is "
            "taken: it chooses among all model types"
        )
    return value


def _endpoint(value: str) -> str:
    try:
        return str(EndpointName.parse(value))
    except ModelDeploymentError as error:
        raise ValueError(error.detail) from None


#: Seconds, or a text like ``10m``.
Seconds = Annotated[float, BeforeValidator(_seconds)]
#: Bytes, or a text like ``2GiB``.
Bytes = Annotated[int, BeforeValidator(_bytes)]
#: The text of a cell.
Cell = Annotated[str, BeforeValidator(_cell)]
ClassPath = Annotated[str, AfterValidator(_class)]
DataPath = Annotated[str, AfterValidator(_data)]
ModelType = Annotated[str, AfterValidator(_model_type)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]
Listed = BeforeValidator(_listed)
