"""A model's signature, as its ``MLmodel`` file has it: columns, parameters, and a sample record.

Pure: it is given parsed text and reads no file.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Numbers of a tensor that a sample shows at most.
_SHOWN = 1000


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs, outputs and params in MLflow's own JSON form; None where the model has none."""

    inputs: list[dict[str, Any]] | None
    outputs: list[dict[str, Any]] | None
    params: list[dict[str, Any]] | None
    #: Made from the Python type hints of the model, which then reads its input itself.
    from_type_hint: bool = False

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"inputs": self.inputs, "outputs": self.outputs, "params": self.params}


def from_mlmodel(document: Mapping[str, Any]) -> Signature | None:
    """The signature in a parsed ``MLmodel`` file, whose parts are JSON texts inside it.

    Raises:
        ValueError: a part is not what MLflow writes.
    """
    if not isinstance(document, Mapping):
        raise ValueError("it is no mapping")
    found = document.get("signature")
    if not isinstance(found, Mapping):
        return None
    inputs, outputs, params = (_part(found.get(name)) for name in ("inputs", "outputs", "params"))
    hinted = document.get("is_signature_from_type_hint") is True
    signature = Signature(inputs, outputs, params, hinted)
    return signature if any((signature.inputs, signature.outputs, signature.params)) else None


def _part(text: Any) -> list[dict[str, Any]] | None:
    parsed = json.loads(text) if isinstance(text, str) else text
    if parsed is None:
        return None
    if not isinstance(parsed, list) or not all(map(_is_column, parsed)):
        raise ValueError("a part of the signature is no list of columns")
    return parsed


def _is_column(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("type"), str)


def sample(signature: Signature | None, examples: Mapping[str, Any]) -> dict[str, Any]:
    """A scoring request that fits the signature, for a model without an input example.

    Args:
        signature: the model's, or None.
        examples: one value for each MLflow type, from ``type_mapping.json``.
    """
    columns = (signature.inputs if signature else None) or []
    if columns and all(isinstance(column.get("name"), str) for column in columns):
        record = {
            column["name"]: _value(column, examples)
            for column in columns
            if column.get("required", True)
        }
        return {"dataframe_records": [record]}
    if columns and columns[0].get("type") == "tensor":
        shape = columns[0].get("tensor-spec", {}).get("shape", [-1])
        return {"inputs": _tensor([1 if size == -1 else size for size in shape])}
    return {"inputs": [[0]]}


def _value(column: Mapping[str, Any], examples: Mapping[str, Any]) -> Any:
    kind = column.get("type", "any")
    match kind:
        case "tensor":
            shape = column.get("tensor-spec", {}).get("shape", [-1])
            return _tensor([1 if size == -1 else size for size in shape[1:]])
        case "array":
            return [_value(column.get("items", {}), examples)]
        case "object":
            properties = column.get("properties", {})
            return {name: _value(inner, examples) for name, inner in properties.items()}
        case "map":
            return {"key": _value(column.get("values", {}), examples)}
        case _:
            return examples.get(kind)


def _tensor(shape: list[int]) -> Any:
    """Zeros; of a tensor that is too large to show, one number as deep as it is nested."""
    if math.prod(shape) > _SHOWN:
        shape = [1] * len(shape)
    return [_tensor(shape[1:]) for _ in range(shape[0])] if shape else 0
