"""Checks requests against a signature of tensors: their shape, and each value in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any

from model_deployment.gate import body_forms
from model_deployment.gate.any_rules import AnyRule
from model_deployment.gate.body_forms import ABSENT, Frame, ParsedBody
from model_deployment.gate.check_result import Fault, Findings, ViolationKind, clip, describe
from model_deployment.gate.column_schema import CheckedData
from model_deployment.gate.datetime_rules import TensorDatetimeRule
from model_deployment.gate.nested_rules import SCALARS
from model_deployment.gate.scalar_rules import ArrayStringRule, FloatRule, Rule

_RULES = {**SCALARS, "string": ArrayStringRule, "datetime": TensorDatetimeRule}


@dataclass(frozen=True, slots=True)
class Tensor:
    #: Empty if it has none.
    name: str
    dtype: str
    shape: tuple[int, ...]
    rule: Rule

    @property
    def expected(self) -> str:
        return f"{self.dtype} tensor of shape {list(self.shape)}"

    @property
    def ragged(self) -> bool:
        """Whether it may have rows of unequal length: MLflow accepts any list as objects."""
        return self.dtype == "object" and self.shape == (-1,)


class TensorSchema:
    def __init__(
        self,
        specs: Sequence[Mapping[str, Any]],
        mapping: Mapping[str, Any],
        gaps: frozenset[int] = frozenset(),
    ) -> None:
        """
        Args:
            gaps: places of the tensors that accept null, if they hold floating point numbers.

        Raises:
            ValueError, LookupError, TypeError: the signature is not as MLflow writes it.
        """
        self._tensors = [
            _compile(spec, mapping, gap=place in gaps) for place, spec in enumerate(specs)
        ]
        self._by_name = {tensor.name: tensor for tensor in self._tensors}
        self._named = all(tensor.name for tensor in self._tensors)
        if not self._named and len(self._tensors) > 1:
            raise ValueError("several tensors without names")
        self.names = [tensor.name for tensor in self._tensors] if self._named else []

    def check(self, request: ParsedBody, findings: Findings) -> CheckedData | None:
        """Check the data; None if it has no tensors."""
        read = self._read(request, findings)
        if read is None:
            return None
        values, faithful = read
        if self._named:
            known = f"one of {clip(', '.join(self.names))}"
            unknown = values.keys() - self._by_name.keys()
            findings.add_unknown(unknown, lambda name: known, "another input")
        taken = {}
        for tensor in self._tensors:
            if tensor.name in values:
                value = values[tensor.name]
                if type(value) is not list or not any(one is ABSENT for one in value):
                    taken[tensor.name] = _take(tensor, value, findings)
            else:
                findings.add(
                    ViolationKind.MISSING, tensor.expected, "no such input", column=tensor.name
                )
        rows = next((len(value) for value in values.values() if type(value) is list), None)
        outcome = CheckedData(rows)
        same = len(taken) == len(values) and all(taken[name] is values[name] for name in taken)
        if not findings.fatal and not (faithful and same):
            outcome.form = body_forms.INPUTS
            outcome.data = taken if self._named else taken[""]
        return outcome

    def gaps(self, request: ParsedBody) -> frozenset[int]:
        """The places of the tensors in which a request has missing values."""
        read = self._read(request, Findings())
        if read is None:
            return frozenset()
        return frozenset(
            place
            for place, tensor in enumerate(self._tensors)
            if None in (_leaves(tensor, read[0].get(tensor.name), Findings())[0] or ())
        )

    def _read(self, request: ParsedBody, findings: Findings) -> tuple[dict[str, Any], bool] | None:
        """The tensors by name, and whether MLflow reads the body in the same way."""
        data = request.data
        if request.form in body_forms.FRAMES:
            frame = body_forms.read_frame(request, self.names or None, findings)
            return None if frame is None else (self._from_frame(frame, findings), False)
        if self._named:
            return self._read_named(data, request.form, findings)
        if type(data) is dict or body_forms.are_records(data) or data in (None, []):
            self._report_form(data, request.form, findings)
            return None
        return {"": data}, True

    def _read_named(
        self, data: Any, form: str, findings: Findings
    ) -> tuple[dict[str, Any], bool] | None:
        if body_forms.are_records(data):
            frame = body_forms.read_records(data, self.names, findings, form)
            if frame is None:
                return None
            return self._from_records(frame, findings), form == body_forms.INSTANCES
        if type(data) is dict:
            uneven = form == body_forms.INSTANCES and self._are_uneven(data, findings)
            return None if uneven else (dict(data), True)
        if len(self.names) == 1 and type(data) is list:
            return {self.names[0]: data}, True
        self._report_form(data, form, findings)
        return None

    def _report_form(self, data: Any, form: str, findings: Findings) -> None:
        names = f"an object with {', '.join(self.names)}"
        expected = names if self._named else f"a {self._tensors[0].expected}"
        findings.add_form(f"{form}: {expected}", describe(data) if data else "nothing in it")

    def _are_uneven(self, data: dict[str, Any], findings: Findings) -> bool:
        sizes = {len(one) for name in self.names if type(one := data.get(name)) is list}
        if len(sizes) > 1:
            findings.add(
                ViolationKind.RAGGED, "instances: as many rows in each input", str(sorted(sizes))
            )
        return len(sizes) > 1

    def _from_frame(self, frame: Frame, findings: Findings) -> dict[str, Any]:
        """The tensors whose rows are the cells of a table, where a cell may be flat."""
        if not self._named and len(frame.names) != 1:
            return {"": [list(row) for row in zip(*frame.values, strict=True)]}
        if not self._named:
            return {"": [_unflattened(cell, self._tensors[0]) for cell in frame.values[0]]}
        values = self._from_records(frame, findings)
        for name in values.keys() & self._by_name.keys():
            values[name] = [_unflattened(cell, self._by_name[name]) for cell in values[name]]
        return values

    def _from_records(self, frame: Frame, findings: Findings) -> dict[str, Any]:
        values: dict[str, Any] = dict.fromkeys(frame.unknown)
        for name, column in zip(frame.names, frame.values, strict=True):
            values[str(name)] = list(column)
            for row in (row for row, cell in enumerate(column) if cell is ABSENT):
                expected = self._by_name[str(name)].expected
                findings.add(ViolationKind.MISSING, expected, "nothing", column=str(name), row=row)
        return values


def _compile(spec: Mapping[str, Any], mapping: Mapping[str, Any], *, gap: bool) -> Tensor:
    dtype, shape = spec["tensor-spec"]["dtype"], tuple(spec["tensor-spec"]["shape"])
    entry = mapping["tensor"]["dtypes"].get(dtype)
    rule: Rule
    if entry is None or entry["as"] == "any":
        rule = AnyRule(mapping["any"]["expected"])
    else:
        kind = _RULES[entry["as"]]
        rule = kind({**mapping[entry["as"]], **entry}, nullable=gap and kind is FloatRule)
    if not all(type(size) is int for size in shape):
        raise ValueError(f"a shape of {shape}")
    return Tensor(spec.get("name") or "", str(dtype), shape, rule)


def _take(tensor: Tensor, value: Any, findings: Findings) -> Any:
    """The tensor to send; the same object if it needs no change."""
    leaves, sizes = _leaves(tensor, value, findings)
    if leaves is None or tensor.rule.accepts(leaves):
        return value
    taken = [tensor.rule.coerce(leaf, findings.lenient) for leaf in leaves]
    if Fault in set(map(type, taken)):
        width = prod(sizes[1:])
        findings.add_faults(
            tensor.name, taken, leaves, lambda place: place // width if tensor.shape else None
        )
        return value
    if all(new is old for new, old in zip(taken, leaves, strict=True)):
        return value
    return _reshaped(taken, sizes)


def _leaves(
    tensor: Tensor, value: Any, findings: Findings
) -> tuple[Sequence[Any] | None, list[int]]:
    """The values of a tensor and its sizes; None, and a violation, if it has another shape."""
    level, sizes = [value], list[int]()
    kind = ViolationKind.SHAPE
    for wanted in tensor.shape:
        if not level or set(map(type, level)) != {list}:
            break
        found = set(map(len, level))
        if len(found) > 1:
            kind = ViolationKind.RAGGED
            break
        sizes.append(found.pop())
        if wanted not in (-1, sizes[-1]):
            break
        level = list(chain.from_iterable(level))
    else:
        if tensor.ragged or list not in set(map(type, level)):
            return level, sizes
    got = "rows of unequal length" if kind is ViolationKind.RAGGED else _shape(value)
    findings.add(kind, tensor.expected, got, column=tensor.name or None)
    return None, sizes


def _shape(value: Any) -> str:
    """The shape of nested lists, judged by the first item of each."""
    sizes = []
    while type(value) is list:
        sizes.append(len(value))
        value = value[0] if value else None
    return f"shape {sizes}" if sizes else describe(value)


def _unflattened(cell: Any, tensor: Tensor) -> Any:
    """The row of a tensor in a cell, which MLflow wants flat there, or as a single number."""
    inner = tensor.shape[1:]
    if type(cell) is not list:
        return [cell] if inner == (1,) else cell
    if (
        len(inner) < 2
        or not all(size > 0 for size in inner)
        or list in set(map(type, cell))
        or prod(inner) != len(cell)
    ):
        return cell
    return _reshaped(cell, list(inner))


def _reshaped(flat: Sequence[Any], sizes: Sequence[int]) -> Any:
    """Nested lists of these sizes; the last dimension varies fastest."""
    if not sizes:
        return flat[0]
    parts: list[Any] = list(flat)
    for size in reversed(sizes[1:]):
        parts = [parts[start : start + size] for start in range(0, len(parts), size)]
    return parts
