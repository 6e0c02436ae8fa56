"""Checks requests against a signature of tensors: their shape, and each value in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from types import NoneType
from typing import Any

from model_deployment.gate import body_forms
from model_deployment.gate.any_rules import AnyRule
from model_deployment.gate.body_forms import ABSENT, Frame, ParsedBody
from model_deployment.gate.check_result import Fault, Findings, ViolationKind, clip, describe
from model_deployment.gate.column_schema import CheckedData
from model_deployment.gate.datetime_rules import TensorDatetimeRule
from model_deployment.gate.mergeable import (
    MergeableTensors,
    TensorKind,
    is_mergeable_type,
    reshaped,
)
from model_deployment.gate.nested_rules import SCALARS
from model_deployment.gate.scalar_rules import ArrayStringRule, FloatRule, Rule

#: Values of which NumPy makes one object each; of lists and dicts beside each other it may make more axes.
_SINGLE = frozenset({str, int, float, bool, NoneType})
_RAGGED = -1
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
    def is_free(self) -> bool:
        """Whether its values may be of any type, even lists."""
        return isinstance(self.rule, AnyRule)

    @property
    def ragged(self) -> bool:
        """Whether it may have rows of unequal length: MLflow accepts any list as objects."""
        return self.dtype == "object" and self.shape == (-1,)


@dataclass(frozen=True, slots=True)
class Taken:
    """A tensor of a request, checked."""

    #: As it is sent; the same object if it needs no change.
    value: Any
    #: Its values, the last axis varies fastest; None if there is a fault in it.
    leaves: Sequence[Any] | None = None
    sizes: Sequence[int] = ()


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
        self.unmergeable = next(filter(None, map(_unmergeable, self._tensors)), "")

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
        taken: dict[str, Taken] = {}
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
        same = len(taken) == len(values) and all(taken[n].value is values[n] for n in taken)
        if findings.fatal:
            return outcome
        if not self.unmergeable:
            outcome.table = self._mergeable(taken, request.form)
        if not (faithful and same):
            outcome.form = body_forms.INPUTS
            data = {name: one.value for name, one in taken.items()}
            outcome.data = data if self._named else data[""]
        return outcome

    def _mergeable(self, taken: Mapping[str, "Taken"], form: str) -> MergeableTensors | None:
        """The rows, if they can be merged with those of other requests."""
        several = [taken[tensor.name] for tensor in self._tensors]
        rows = {one.sizes[0] for one in several if one.sizes}
        if len(rows) != 1 or not all(0 not in one.sizes for one in several):
            return None
        kinds = []
        for tensor, one in zip(self._tensors, several, strict=True):
            if one.leaves is None or (
                tensor.is_free and not _SINGLE.issuperset(map(type, one.leaves))
            ):
                return None
            kinds.append(TensorKind(tensor.name, tensor.dtype, tuple(one.sizes[1:])))
        leaves = tuple(one.leaves for one in several if one.leaves is not None)
        return MergeableTensors(tuple(kinds), leaves, rows.pop(), form)

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


def _unmergeable(tensor: Tensor) -> str:
    """Why requests with a tensor cannot be merged, in a clause; empty if they can be."""
    name = f"input {clip(tensor.name)!a}" if tensor.name else "input"
    if not tensor.shape:
        return f"its {name} has no axes, so it has no rows"
    if tensor.shape[0] != -1:
        return (
            f"the first axis of its {name} has the fixed size {tensor.shape[0]} in its signature; log the "
            f"model with a signature of shape (-1, …) if it takes any number of rows"
        )
    if not is_mergeable_type(tensor.dtype):
        return f"values of the type {clip(tensor.dtype)} of its {name} depend on those beside them"
    return ""


def _take(tensor: Tensor, value: Any, findings: Findings) -> Taken:
    level, sizes = _innermost(tensor, value)
    if level is not None and not tensor.is_free:
        packed = tensor.rule.packed(level, truths=findings.truths)
        if packed is not None or tensor.rule.accepts(level):  # no list among them
            return Taken(value, level if packed is None else packed, sizes)
    leaves, sizes = _leaves(tensor, value, findings)
    if leaves is None:
        return Taken(value)
    if tensor.rule.accepts(leaves):
        return Taken(value, leaves, sizes)
    taken = [tensor.rule.coerce(leaf, findings.lenient) for leaf in leaves]
    if Fault in set(map(type, taken)):
        width = prod(sizes[1:])
        findings.add_faults(
            tensor.name, taken, leaves, lambda place: place // width if tensor.shape else None
        )
        return Taken(value)
    if all(new is old for new, old in zip(taken, leaves, strict=True)):
        return Taken(value, leaves, sizes)
    return Taken(reshaped(taken, sizes), taken, sizes)


def _leaves(
    tensor: Tensor, value: Any, findings: Findings
) -> tuple[Sequence[Any] | None, list[int]]:
    """The values of a tensor and its sizes; None, and a violation, if it has another shape."""
    level, sizes = _innermost(tensor, value)
    if level is not None and (tensor.ragged or list not in set(map(type, level))):
        return level, sizes
    ragged = level is None and sizes == [_RAGGED]
    kind = ViolationKind.RAGGED if ragged else ViolationKind.SHAPE
    got = "rows of unequal length" if ragged else _shape(value)
    findings.add(kind, tensor.expected, got, column=tensor.name or None)
    return None, sizes


def _innermost(tensor: Tensor, value: Any) -> tuple[Sequence[Any] | None, list[int]]:
    """What is nested as deep as a tensor has axes, which should be values, and the sizes of the axes.

    None if the value has another shape; the sizes are ``[_RAGGED]`` if its rows are of unequal length.
    """
    level, sizes = [value], list[int]()
    for wanted in tensor.shape:
        if not level or set(map(type, level)) != {list}:
            return None, []
        found = set(map(len, level))
        if len(found) > 1:
            return None, [_RAGGED]
        sizes.append(found.pop())
        if wanted not in (-1, sizes[-1]):
            return None, []
        level = list(chain.from_iterable(level))
    return level, sizes


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
    return reshaped(cell, list(inner))
