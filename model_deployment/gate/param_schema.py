"""Checks ``params``, which MLflow drops, converts and refuses by rules of their own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_deployment.gate.any_rules import UnreadableRule
from model_deployment.gate.check_result import Fault, Findings, ViolationKind, clip, describe
from model_deployment.gate.datetime_rules import DatetimeRule
from model_deployment.gate.nested_rules import SCALARS, nested_rule
from model_deployment.gate.scalar_rules import Rule

#: Digits of a second. NumPy reads a parameter's time, and turns one with nanoseconds into a number.
_FINEST = 6


@dataclass(frozen=True, slots=True)
class Param:
    rule: Rule
    #: Whether its value is a list.
    many: bool


class ParamSchema:
    def __init__(self, specs: Sequence[Mapping[str, Any]], mapping: Mapping[str, Any]) -> None:
        """
        Raises:
            ValueError, LookupError, TypeError: the signature is not as MLflow writes it.
        """
        self._params = {str(spec["name"]): _compile(spec, mapping) for spec in specs}

    def check(self, given: Any, findings: Findings) -> dict[str, Any] | None:
        """The parameters to send: the same object if they need no change, None if there are none."""
        if given is None:
            return None
        if type(given) is not dict:
            findings.add(
                ViolationKind.PARAMS,
                "an object",
                describe(given),
                tally="",
                forgivable=not self._params,
            )
            return None
        known = clip(", ".join(self._params))
        expected = f"one of the params {known}" if known else "no params: the model takes none"
        unknown = given.keys() - self._params.keys()
        findings.add_unknown(unknown, lambda name: expected, "another param", ViolationKind.PARAMS)
        taken = {
            name: self._take(name, given[name], findings) for name in given if name in self._params
        }
        same = len(taken) == len(given) and all(taken[name] is given[name] for name in taken)
        return given if same else taken

    def _take(self, name: str, value: Any, findings: Findings) -> Any:
        param = self._params[name]
        if not param.many:
            taken = param.rule.coerce(value, findings.lenient)
            self._report(name, taken, value, findings)
            return taken
        expected = f"a list, each item {param.rule.expected}"
        if type(value) is not list:
            findings.add(ViolationKind.PARAMS, expected, describe(value), column=name)
            return value
        items = [param.rule.coerce(item, findings.lenient) for item in value]
        for item, given in zip(items, value, strict=True):
            self._report(name, item, given, findings)
        return value if all(new is old for new, old in zip(items, value, strict=True)) else items

    def _report(self, name: str, taken: Any, value: Any, findings: Findings) -> None:
        if not isinstance(taken, Fault):
            return
        where = f" at {clip(name + taken.path)}" if taken.path else ""
        got = describe(taken.value if taken.path else value)
        findings.add(ViolationKind.PARAMS, taken.expected + where, got, column=name)


def _compile(spec: Mapping[str, Any], mapping: Mapping[str, Any]) -> Param:
    kind = spec.get("type") or spec["dtype"]
    many = spec.get("shape") is not None
    # MLflow passes null on, whatever the type and the default, in lists as well.
    rule: Rule
    if kind == "object":
        rule = nested_rule({**spec, "type": "object"}, mapping)
    elif kind == "datetime":
        entry = {key: mapping[kind][key] for key in ("expected", "types")}
        rule = DatetimeRule(entry, nullable=True, finest=_FINEST, missing=None)
    elif kind in SCALARS and kind != "binary":
        rule = SCALARS[kind](mapping[kind], nullable=True)
    else:
        rule = UnreadableRule(f"nothing: MLflow takes no parameters of type {kind}", nullable=True)
    return Param(rule, many)
