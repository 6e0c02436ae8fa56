"""A model's signature, as its ``MLmodel`` file has it: columns, parameters, and a sample record.

Pure: it is given parsed text and reads no file.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs, outputs and params in MLflow's own JSON form; None where the model has none."""

    inputs: list[dict[str, Any]] | None
    outputs: list[dict[str, Any]] | None
    params: list[dict[str, Any]] | None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"inputs": self.inputs, "outputs": self.outputs, "params": self.params}


def from_mlmodel(document: Mapping[str, Any]) -> Signature | None:
    """The signature in a parsed ``MLmodel`` file, whose parts are JSON texts inside it.

    Raises:
        ValueError: a part is not JSON.
    """
    found = document.get("signature")
    if not isinstance(found, Mapping):
        return None
    parts = (_part(found.get(name)) for name in ("inputs", "outputs", "params"))
    signature = Signature(*parts)
    return signature if any((signature.inputs, signature.outputs, signature.params)) else None


def _part(text: Any) -> list[dict[str, Any]] | None:
    parsed = json.loads(text) if isinstance(text, str) else text
    return parsed if isinstance(parsed, list) else None


def sample(signature: Signature | None, examples: Mapping[str, Any]) -> dict[str, Any]:
    """A scoring request that fits the signature, for a model without an input example.

    Args:
        signature: the model's, or None.
        examples: one value for each MLflow type, from ``type_mapping.json``.
    """
    columns = (signature.inputs if signature else None) or []
    if columns and all("name" in column for column in columns):
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
    return [_tensor(shape[1:]) for _ in range(shape[0])] if shape else 0
