"""Gates for tests: signatures in few words, and bodies of one column."""

import json
from pathlib import Path
from typing import Any

from model_deployment.core.signature import Signature
from model_deployment.gate import CheckResult, Gate, Validation

MAPPING: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "type_mapping.json").read_text(encoding="utf-8")
)

Spec = dict[str, Any]

# Types of columns whose values have parts.
ARRAY_OF_DOUBLES: Spec = {"type": "array", "items": {"type": "double"}}
ARRAY_OF_TEXT: Spec = {"type": "array", "items": {"type": "string"}}
ORDER: Spec = {
    "type": "object",
    "properties": {
        "id": {"type": "long"},
        "price": {"type": "double"},
        "note": {"type": "string", "required": False},
    },
}
PRICES: Spec = {"type": "map", "values": {"type": "double"}}


def column(kind: str | Spec, name: str = "a", *, required: bool = True) -> Spec:
    """A named column."""
    spec = {"type": kind} if isinstance(kind, str) else kind
    return {**spec, "name": name, "required": required}


def tensor(dtype: str, *shape: int, name: str | None = None) -> Spec:
    """A tensor, named or not."""
    spec = {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": list(shape)}}
    return spec if name is None else {**spec, "name": name}


def param(kind: str, default: Any, name: str = "p", *, many: bool = False, **more: Any) -> Spec:
    """A parameter."""
    return {"name": name, "type": kind, "default": default, "shape": [-1] if many else None, **more}


def gate(*inputs: Spec, mode: str = "strict", params: list[Spec] | None = None) -> Gate:
    """A gate for columns or tensors."""
    return Gate(Signature([*inputs] or None, None, params), MAPPING, Validation(mode))


def split(*values: Any, name: str = "a") -> dict[str, Any]:
    """A frame of one column."""
    return {"dataframe_split": {"columns": [name], "data": [[value] for value in values]}}


def values(result: CheckResult, original: Any) -> list[Any]:
    """The values of one column as they are sent on."""
    body = original if result.payload is None else result.payload
    return [row[0] for row in body["dataframe_split"]["data"]]


def kinds(result: CheckResult) -> list[str]:
    """What is wrong, in the order it is told."""
    return [str(violation.kind) for violation in result.violations]
