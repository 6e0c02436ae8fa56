"""How the steps of a plan are shown. Pure."""

import json
from typing import Any

from model_deployment.cli import figures
from model_deployment.cli.declared.plan import Action, Step

_SIGNS = {
    Action.DEPLOY: "+ deploy",
    Action.KEEP: "= keep",
    Action.CHANGE: "~ change",
    Action.AWAIT: "= wait for",
    Action.SET_ENDPOINT: "~ set endpoint",
    Action.DELETE_ENDPOINT: "- delete endpoint",
    Action.UNDEPLOY: "- undeploy",
}


def line(step: Step) -> str:
    """A step, and why: the option that changes, from what, to what."""
    sign = _SIGNS[step.action]
    if step.action is Action.SET_ENDPOINT and not step.changes:
        sign = "+ make endpoint"
    parts = [*([step.reason] if step.reason else []), *_changes(step)]
    if step.action is Action.DEPLOY and not step.changes:
        parts += [f"{name} {_value(value)}" for name, value in step.body.items()]
    return f"{sign} {step.name}" + (f": {'; '.join(parts)}" if parts else "")


def as_json(step: Step) -> dict[str, Any]:
    """A step for programs; ``changes`` has the values before and after."""
    return {
        "action": str(step.action),
        "name": step.name,
        "reason": step.reason,
        "changes": {
            name: {"before": old, "after": new} for name, (old, new) in step.changes.items()
        },
    }


def _changes(step: Step) -> list[str]:
    return [f"{name} {_value(old)} -> {_value(new)}" for name, (old, new) in step.changes.items()]


def _value(value: Any) -> str:
    if isinstance(value, str | float):
        return value if isinstance(value, str) else figures.number(value)
    return json.dumps(value)
