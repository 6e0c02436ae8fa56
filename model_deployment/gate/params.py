"""The rules for ``params``, which MLflow drops, converts and refuses by rules of their own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_deployment.gate.anything import Unreadable
from model_deployment.gate.nested import nested_rule
from model_deployment.gate.rules import Fault, Real, Rule, Text, Truth, Whole
from model_deployment.gate.times import Time
from model_deployment.gate.verdict import SHOWN, Findings, Kind, clip, shown

_RULES = {
    "integer": Whole,
    "long": Whole,
    "float": Real,
    "double": Real,
    "string": Text,
    "boolean": Truth,
}
#: NumPy reads a parameter's time, and gives a number in the place of one with nanoseconds.
_FINEST = 6


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter."""

    rule: Rule
    #: It takes a list of values.
    many: bool


class Params:
    """The parameters of a signature, compiled."""

    def __init__(self, specs: Sequence[Mapping[str, Any]], mapping: Mapping[str, Any]) -> None:
        """Compile.

        Raises:
            ValueError, LookupError, TypeError: the signature is not as MLflow writes it.
        """
        self._params = {str(spec["name"]): _compile(spec, mapping) for spec in specs}

    def check(self, given: Any, findings: Findings) -> dict[str, Any] | None:
        """The parameters to send on: the same object if they were fine, None if there are none."""
        if given is None:
            return None
        if type(given) is not dict:
            findings.add(
                Kind.PARAMS, "an object", shown(given), tally="", forgivable=not self._params
            )
            return None
        strangers = sorted(given.keys() - self._params.keys())
        for name in strangers[:SHOWN]:
            known = clip(", ".join(self._params))
            expected = f"one of the params {known}" if known else "no params: the model takes none"
            findings.add(
                Kind.PARAMS, expected, "another param", column=name, tally="", forgivable=True
            )
        findings.add_unseen(Kind.PARAMS, len(strangers) - SHOWN, forgivable=True)
        taken = {
            name: self._take(name, given[name], findings) for name in given if name in self._params
        }
        same = len(taken) == len(given) and all(taken[name] is given[name] for name in taken)
        return given if same else taken

    def _take(self, name: str, value: Any, findings: Findings) -> Any:
        param = self._params[name]
        if not param.many:
            taken = param.rule.take(value, findings.lenient)
            self._report(name, taken, value, findings)
            return taken
        expected = f"a list, each item {param.rule.expected}"
        if type(value) is not list:
            findings.add(Kind.PARAMS, expected, shown(value), column=name)
            return value
        items = [param.rule.take(item, findings.lenient) for item in value]
        for item, given in zip(items, value, strict=True):
            self._report(name, item, given, findings)
        return value if all(new is old for new, old in zip(items, value, strict=True)) else items

    def _report(self, name: str, taken: Any, value: Any, findings: Findings) -> None:
        if not isinstance(taken, Fault):
            return
        where = f" at {clip(name + taken.path)}" if taken.path else ""
        got = shown(taken.value if taken.path else value)
        findings.add(Kind.PARAMS, taken.expected + where, got, column=name)


def _compile(spec: Mapping[str, Any], mapping: Mapping[str, Any]) -> Param:
    kind = spec.get("type") or spec["dtype"]
    many = spec.get("shape") is not None
    # MLflow hands null on, whatever the type and the default, and in lists as well.
    rule: Rule
    if kind == "object":
        rule = nested_rule({**spec, "type": "object"}, mapping)
    elif kind == "datetime":
        entry = {key: mapping[kind][key] for key in ("expected", "types")}
        rule = Time(entry, nullable=True, finest=_FINEST, missing=None)
    elif kind in _RULES:
        rule = _RULES[kind](mapping[kind], nullable=True)
    else:
        rule = Unreadable(f"nothing: MLflow takes no parameters of type {kind}", nullable=True)
    return Param(rule, many)
