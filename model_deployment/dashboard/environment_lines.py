"""Warm parents and built environments in words. Pure."""

from collections.abc import Sequence

from model_deployment.rendering import numbers
from model_deployment.runtime.environment_views import (
    BuildState,
    BuiltView,
    EnvironmentView,
    ParentView,
    short,
    versions,
)


def summary(parents: Sequence[ParentView], built: Sequence[BuiltView]) -> str:
    """What both take together; empty if there is nothing."""
    parts = []
    if parents:
        memory = sum(one.memory or 0 for one in parents)
        parts.append(f"{numbers.count(len(parents), 'warm parent')}, {numbers.size(memory)}")
    if built:
        size = numbers.size(sum(one.size for one in built))
        parts.append(f"{numbers.count(len(built), 'environment')} of models, {size} on the disk")
    return "; ".join(parts)


def lines(parents: Sequence[ParentView], built: Sequence[BuiltView]) -> list[str]:
    """A line for each environment: the controller's own first, and those without a parent last."""
    sizes = {one.digest: one for one in built}
    found = [_line(one, sizes.get(one.digest)) for one in parents]
    idle = sizes.keys() - {one.digest for one in parents}
    return [*found, *(_idle_line(sizes[digest]) for digest in sorted(idle))]


def _line(parent: ParentView, built: BuiltView | None) -> str:
    whose = _name(built) if built else short(parent.digest) or "the controller\u2019s own"
    memory = numbers.size(parent.memory) if parent.memory is not None else "being started"
    disk = f", {numbers.size(built.size)} on the disk" if built else ""
    return f"{whose}: {numbers.count(parent.launches, 'model')}, {memory} of memory{disk}"


def _idle_line(built: BuiltView) -> str:
    needed = "" if built.needed else ", not needed, removed soon"
    return f"{_name(built)}: no warm parent, {numbers.size(built.size)} on the disk{needed}"


def _name(built: BuiltView) -> str:
    return f"{short(built.digest)} ({versions(built.python_version, built.mlflow_version)})"


def of_deployment(view: EnvironmentView | None) -> str:
    """The environment of a deployment; empty: it has the controller's."""
    if view is None:
        return ""
    parts = [str(view.manager)]
    if view.python_version:
        parts.append(versions(view.python_version, view.mlflow_version))
    if view.digest:
        parts.append(short(view.digest))
    match view.state:
        case BuildState.READY:
            pass
        case BuildState.MISSING:
            parts.append("built before the next start")
        case BuildState.BUILDING:
            parts.append(f"building: {view.progress}" if view.progress else "building")
        case BuildState.FAILED:
            parts.append(view.progress)
    return ", ".join(parts)
