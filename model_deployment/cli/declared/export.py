"""Writes what a controller has as a file that declares it. Pure."""

from collections.abc import Mapping
from typing import Any

import yaml

from model_deployment.cli.declared.plan import Found
from model_deployment.core.rollout_policy import RolloutPolicy

_HEAD = "# Deployments and endpoints of a controller: model-deployment apply -f FILE\n"


def export(found: Found) -> str:
    """A file that declares what is found: values that differ from the defaults.

    Deployments that endpoints use are left out: the endpoints make them.
    """
    held = {name for one in found.endpoints.values() for name in one.holds}
    deployments = [
        {"model": one.model, "version": one.version} | _part("options", one.options, found.defaults)
        for name, one in sorted(
            found.deployments.items(), key=lambda item: (item[1].model, item[1].version)
        )
        if name not in held
    ]
    plain = RolloutPolicy().as_dict()
    endpoints = [
        {"name": name} | _part("policy", one.policy, plain)
        for name, one in sorted(found.endpoints.items())
    ]
    body = {"deployments": deployments, "endpoints": endpoints}
    return _HEAD + yaml.safe_dump(body, sort_keys=False, allow_unicode=True)


def _part(
    name: str, values: Mapping[str, Any], defaults: Mapping[str, Any] | None
) -> dict[str, Any]:
    kept = _differing(values, defaults or {})
    return {name: kept} if kept else {}


def _differing(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in values.items():
        plain = defaults.get(name)
        if isinstance(value, Mapping) and isinstance(plain, Mapping):
            if part := _differing(value, plain):
                kept[name] = part
        elif value != plain and value is not None:
            kept[name] = _plain(value)
    return kept


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value
