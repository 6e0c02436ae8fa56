"""What it takes to change the options of a deployment. Pure."""

from typing import Any

from model_deployment.core import merging
from model_deployment.core.domain import Deployment
from model_deployment.core.merging import Merging
from model_deployment.core.options import Options, StartMethod
from model_deployment.core.replicas import Replicas


def changed(before: Options, after: Options) -> dict[str, tuple[Any, Any]]:
    """The options that differ, with both values."""
    old, new = before.as_dict(), after.as_dict()
    return {name: (old[name], new[name]) for name in old if old[name] != new[name]}


def needs_launch(row: Deployment, options: Options) -> tuple[str, ...]:
    """The options that only another launch of a ready deployment can have."""
    declared = Options.declarations()
    return tuple(
        name
        for name in changed(row.options, options)
        if not declared[name].applies_at_once
        and not (name == "batch_max_rows" and merging.changed(row.merging, options.batch_max_rows))
    )


def measured_alike(row: Deployment, options: Options, artifact: str) -> bool:
    """Whether the memory measured of a row holds for these options and artifacts."""
    return row.artifact == artifact and _size(options) == _size(row.options)


def _size(options: Options) -> tuple[object, ...]:
    """What decides how much memory the processes of a launch take."""
    contained = options.start_method is StartMethod.CONTAINER
    return options.workers, options.env_manager, options.forks, contained


def merging_after(row: Deployment, options: Options) -> Merging | None:
    """Whether requests to the launch that serves are merged, once the options have changed."""
    if row.options.batch_max_rows == options.batch_max_rows:
        return row.merging
    return merging.changed(row.merging, options.batch_max_rows)


def described(before: Options, after: Options) -> str:
    """The change in words; empty if there is none."""
    return ", ".join(
        f"{name} from {_shown(old)} to {_shown(new)}"
        for name, (old, new) in changed(before, after).items()
    )


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) if value else "none"
    if isinstance(value, dict):
        return str(Replicas.read(value))
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
