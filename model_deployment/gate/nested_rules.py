"""The rules for arrays, objects and maps, and the compiler of a signature's types into rules."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from types import NoneType
from typing import Any

from model_deployment.gate.any_rules import AnyRule, UnreadableRule
from model_deployment.gate.check_result import Fault, ViolationKind, clip
from model_deployment.gate.datetime_rules import DatetimeRule
from model_deployment.gate.scalar_rules import (
    ArrayStringRule,
    BinaryRule,
    BooleanRule,
    FloatRule,
    IntegerRule,
    NestedFloatRule,
    Rule,
    ScalarRule,
    StringRule,
)

Spec = Mapping[str, Any]
Mapped = Mapping[str, Any]

#: The rules of MLflow's scalar types.
SCALARS: dict[str, Callable[..., ScalarRule]] = {
    "integer": IntegerRule,
    "long": IntegerRule,
    "float": FloatRule,
    "double": FloatRule,
    "string": StringRule,
    "boolean": BooleanRule,
    "datetime": DatetimeRule,
    "binary": BinaryRule,
}
#: Types whose values contain other values.
COMPLEX = frozenset({"object", "array", "map", "sparkml_vector"})


class ArrayRule(Rule):
    """Lists of values of one type."""

    def __init__(self, expected: str, items: Rule, *, nullable: bool) -> None:
        super().__init__(expected, nullable=nullable)
        self._items = items

    def accepts(self, values: Sequence[Any]) -> bool:
        present = _present(values, list, self.nullable)
        # All at once: the lists are valid if all of their items are.
        return present is not None and self._items.accepts(list(chain.from_iterable(present)))

    def coerce(self, value: Any, lenient: bool) -> Any:
        if type(value) is not list:
            return _other(self, value)
        taken = {place: self._items.coerce(item, lenient) for place, item in enumerate(value)}
        return _collected(value, taken, "[{}]")


class MapRule(Rule):
    """Objects with arbitrary keys and values of one type."""

    def __init__(self, expected: str, values: Rule, *, nullable: bool) -> None:
        super().__init__(expected, nullable=nullable)
        self._values = values

    def accepts(self, values: Sequence[Any]) -> bool:
        present = _present(values, dict, self.nullable)
        if present is None:
            return False
        return self._values.accepts(list(chain.from_iterable(map(dict.values, present))))

    def coerce(self, value: Any, lenient: bool) -> Any:
        if type(value) is not dict:
            return _other(self, value)
        taken = {key: self._values.coerce(item, lenient) for key, item in value.items()}
        return _collected(value, taken, "[{!a}]")


class ObjectRule(Rule):
    """Objects with named members, each of a type of its own."""

    def __init__(
        self,
        expected: str,
        members: Mapping[str, Rule],
        required: frozenset[str],
        *,
        nullable: bool,
    ) -> None:
        super().__init__(expected, nullable=nullable)
        self._members = members
        self._required = required

    def accepts(self, values: Sequence[Any]) -> bool:
        present = _present(values, dict, self.nullable)
        if present is None:
            return False
        if not all(self._required <= value.keys() <= self._members.keys() for value in present):
            return False
        return all(
            rule.accepts([value[name] for value in present if name in value])
            for name, rule in self._members.items()
        )

    def coerce(self, value: Any, lenient: bool) -> Any:
        if type(value) is not dict:
            return _other(self, value)
        if not value and self.nullable:
            return value
        if unknown := value.keys() - self._members.keys():
            name = min(unknown)
            expected = f"object with no members but {clip(', '.join(self._members))}"
            return Fault(ViolationKind.UNKNOWN, expected).nested_in(f".{name}", value[name])
        if missing := self._required - value.keys():
            return Fault(ViolationKind.MISSING, f"object with the member {min(missing)}")
        taken = {name: self._members[name].coerce(item, lenient) for name, item in value.items()}
        return _collected(value, taken, ".{}")


def _present(values: Sequence[Any], kind: type, nullable: bool) -> Sequence[Any] | None:
    """The values without null, if all are of one type."""
    types = set(map(type, values))
    if types <= {kind}:
        return values
    if nullable and types <= {kind, NoneType}:
        return [value for value in values if value is not None]
    return None


def _other(rule: Rule, value: Any) -> Any:
    """What a rule returns for a value that is not of its type."""
    if value is not None:
        return Fault(ViolationKind.TYPE, rule.expected)
    return None if rule.nullable else Fault(ViolationKind.NULL, rule.expected)


def _collected(value: Any, taken: dict[Any, Any], step: str) -> Any:
    """What a rule returns for a list or an object, given what became of its items.

    Args:
        step: format of the path from the value to an item.
    """
    for key, item in taken.items():
        if isinstance(item, Fault):
            return item.nested_in(step.format(key), value[key])
    if all(item is value[key] for key, item in taken.items()):
        return value
    return list(taken.values()) if type(value) is list else taken


def column_rule(spec: Spec, mapping: Mapped, *, gap: bool = False) -> Rule:
    """Compile one column of a signature.

    Args:
        gap: the model's own example has missing values there, so it accepts null, required or not.

    Raises:
        ValueError, LookupError, TypeError: MLflow has no such type, or writes it differently.
    """
    kind = spec["type"]
    if kind in COMPLEX or kind == "any":
        # If a signature does not say whether a column is required, MLflow assumes optional for these types,
        # and required for others.
        return _complex(spec, mapping, required=bool(spec.get("required")), gap=gap)
    required = spec.get("required", True) and not gap
    entry = mapping[kind]
    rule = SCALARS[kind](entry, nullable=not required and entry["nullable"])
    if not required:
        # The message where null is refused all the same: pandas has no such column with gaps.
        rule.expect_null(f"{rule.expected}; given in all rows or in none")
    return rule


def nested_rule(
    spec: Spec,
    mapping: Mapped,
    *,
    required: bool = True,
    nullable: bool = False,
    gap: bool = False,
) -> Rule:
    """Compile a type inside of another, or a parameter that is an object.

    Args:
        required: whether the enclosing type is; MLflow passes that on to inner types.
        nullable: whether a scalar may be null here.
        gap: as for :func:`column_rule`.

    Raises:
        ValueError, LookupError, TypeError: as :func:`column_rule`.
    """
    kind = spec["type"]
    if kind in COMPLEX or kind == "any":
        return _complex(spec, mapping, required=required, gap=gap)
    entry = mapping[kind]
    if not entry["nested"]:
        expected = f"{kind}, which MLflow cannot read from JSON inside an array or object"
        return UnreadableRule(expected, nullable=nullable)
    if SCALARS[kind] is FloatRule:
        return NestedFloatRule(entry, nullable=nullable, gap=gap)
    return SCALARS[kind](entry, nullable=nullable)


def _complex(spec: Spec, mapping: Mapped, *, required: bool, gap: bool) -> Rule:
    kind = spec["type"]
    if kind == "any":
        return AnyRule(mapping["any"]["expected"])
    if kind == "object":
        return _object(spec, mapping, required=required, gap=gap)
    if kind == "map":
        values = nested_rule(
            spec["values"], mapping, required=required, nullable=not required, gap=gap
        )
        expected = f"map: an object with values of type {_name(spec['values'])}"
        return MapRule(expected, values, nullable=not required or _is_any(spec["values"]))
    inner = {"type": "double"} if kind == "sparkml_vector" else spec["items"]
    items = (
        ArrayStringRule(mapping["string"], nullable=False)
        if inner["type"] == "string"
        else nested_rule(inner, mapping, required=required, gap=gap)
    )
    return ArrayRule(f"array of {_name(inner)}", items, nullable=not required or _is_any(inner))


def _object(spec: Spec, mapping: Mapped, *, required: bool, gap: bool) -> Rule:
    members: dict[str, Rule] = {}
    needed = set()
    for name, inner in spec["properties"].items():
        wanted = inner.get("required", True)
        members[name] = nested_rule(inner, mapping, required=wanted, nullable=not wanted, gap=gap)
        if wanted:
            needed.add(name)
    return ObjectRule(
        f"object with {clip(', '.join(members))}", members, frozenset(needed), nullable=not required
    )


def _is_any(spec: Spec) -> bool:
    return bool(spec["type"] == "any")


def _name(spec: Spec) -> str:
    return str(spec["type"])
