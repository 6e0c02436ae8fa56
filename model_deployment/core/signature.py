"""A model's signature, as its ``MLmodel`` file has it: columns, parameters, and a sample record.

Pure: it is given parsed text and reads no file.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Numbers of a tensor that a sample shows at most.
SHOWN = 1000


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs, outputs and params in MLflow's own JSON form; None where the model has none."""

    inputs: list[dict[str, Any]] | None
    outputs: list[dict[str, Any]] | None
    params: list[dict[str, Any]] | None
    #: Made from the Python type hints of the model, which then reads its input itself.
    from_type_hint: bool = False
    #: Places of the inputs in which the model's own example has missing values.
    gaps: frozenset[int] = frozenset()

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready. An input of which the example has missing values is ``nullable``."""
        inputs = self.inputs
        if inputs and self.gaps:
            inputs = [
                {**one, "nullable": True} if place in self.gaps else one
                for place, one in enumerate(inputs)
            ]
        return {"inputs": inputs, "outputs": self.outputs, "params": self.params}


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


def sample(
    signature: Signature | None, examples: Mapping[str, Any], most: int = SHOWN
) -> dict[str, Any]:
    """A scoring request that fits the signature, for a model without an input example.

    Args:
        signature: the model's, or None.
        examples: one value for each MLflow type, from ``type_mapping.json``, and for each type of a
            tensor that takes no 0, such as ``tensor of str``.
        most: numbers of a tensor; of a larger one the sample only shows how it is nested.
    """
    columns = (signature.inputs if signature else None) or []
    named = [column for column in columns if column.get("name") is not None]
    if not columns or 0 < len(named) < len(columns):
        return {"inputs": [[0]]}
    if columns[0].get("type") == "tensor":
        return _tensors(columns, examples, most)
    if named:
        # A model of nothing but optional columns takes no request without any.
        shown = [one for one in columns if one.get("required", True)] or columns
        return _records({one["name"]: _value(one, examples) for one in shown})
    values = [_value(column, examples) for column in columns]
    if signature is not None and signature.from_type_hint:
        return {"inputs": values}
    if isinstance(values[0], dict):
        # In ``inputs`` that would be a record.
        return {"dataframe_split": {"data": [values]}}
    return {"inputs": values if len(values) == 1 else [values]}


def _records(record: dict[Any, Any]) -> dict[str, Any]:
    if all(isinstance(name, str) for name in record):
        return {"dataframe_records": [record]}
    # Of an object's keys JSON makes text, which MLflow does not find.
    return {"dataframe_split": {"columns": list(record), "data": [list(record.values())]}}


def _tensors(
    specs: Sequence[Mapping[str, Any]], examples: Mapping[str, Any], most: int
) -> dict[str, Any]:
    shapes = [list(spec.get("tensor-spec", {}).get("shape", [-1])) for spec in specs]
    names = [spec.get("name") for spec in specs]
    tensors = [
        _tensor([1 if size == -1 else size for size in shape], _filling(spec, examples), most)
        for spec, shape in zip(specs, shapes, strict=True)
    ]
    if names[0] is None:
        return {"inputs": tensors[0]}
    by_name = dict(zip(names, tensors, strict=True))
    if all(isinstance(name, str) for name in names) and all(shape[:1] == [-1] for shape in shapes):
        return {"dataframe_records": [{name: one[0] for name, one in by_name.items()}]}
    return {"inputs": by_name}


def _filling(spec: Mapping[str, Any], examples: Mapping[str, Any]) -> Any:
    """What a tensor is filled with: 0, if it may hold that."""
    return examples.get(f"tensor of {spec.get('tensor-spec', {}).get('dtype')}", 0)


def _value(column: Mapping[str, Any], examples: Mapping[str, Any]) -> Any:
    kind = column.get("type", "any")
    match kind:
        case "array":
            return [_value(column.get("items", {}), examples)]
        case "sparkml_vector":
            return [_value({"type": "double"}, examples)]
        case "object":
            properties = column.get("properties", {})
            needed = {name: one for name, one in properties.items() if one.get("required", True)}
            return {name: _value(one, examples) for name, one in (needed or properties).items()}
        case "map":
            return {"key": _value(column.get("values", {}), examples)}
        case _:
            return examples.get(kind)


def _tensor(shape: list[int], filling: Any, most: int) -> Any:
    """Of a tensor that is too large to show, one number as deep as it is nested."""
    if math.prod(shape) > most:
        shape = [1] * len(shape)
    return [_tensor(shape[1:], filling, most) for _ in range(shape[0])] if shape else filling
