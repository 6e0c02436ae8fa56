"""Decides what has to be done so that a controller has what a file declares. Pure."""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

#: A value before and after, by the dotted name of an option or of a member of a policy.
Changes = Mapping[str, tuple[Any, Any]]


class Action(StrEnum):
    """What a step does; in the order in which steps are done."""

    DEPLOY = "deploy"
    #: Deploy what is deployed, so that no endpoint undeploys it.
    KEEP = "keep"
    CHANGE = "change"
    #: Wait for what is as declared, and does not serve yet.
    AWAIT = "await"
    SET_ENDPOINT = "set_endpoint"
    DELETE_ENDPOINT = "delete_endpoint"
    UNDEPLOY = "undeploy"

    @property
    def removes(self) -> bool:
        return self in (Action.DELETE_ENDPOINT, Action.UNDEPLOY)


@dataclass(frozen=True, slots=True)
class DeclaredDeployment:
    """A model version that is to be served."""

    model: str
    version: int
    #: As JSON; an option that is not named has its default.
    options: Mapping[str, Any] = field(default_factory=dict)
    #: The alias that the version was found by; empty if the file names the version.
    alias: str = ""

    @property
    def name(self) -> str:
        return f"{self.model}-{self.version}"


@dataclass(frozen=True, slots=True)
class DeclaredState:
    """What a file declares."""

    #: None: the file says nothing of deployments.
    deployments: tuple[DeclaredDeployment, ...] | None
    #: Whole policies as JSON, by the names of endpoints. None: the file says nothing of endpoints.
    endpoints: Mapping[str, Mapping[str, Any]] | None


@dataclass(frozen=True, slots=True)
class FoundDeployment:
    """A deployment that a controller has."""

    model: str
    version: int
    #: As JSON; where a row of an earlier release has None, the default is in force.
    options: Mapping[str, Any]
    #: Why it failed; empty if it did not.
    failure: str = ""
    #: It does not serve yet, or is being changed.
    starting: bool = False


@dataclass(frozen=True, slots=True)
class FoundEndpoint:
    """An endpoint that a controller has."""

    policy: Mapping[str, Any]
    #: Names of the deployments that it uses.
    holds: Set[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Found:
    """What a controller has, by name."""

    deployments: Mapping[str, FoundDeployment]
    endpoints: Mapping[str, FoundEndpoint]
    #: Options of a deploy that names none. None if they are unknown: options that a file does not name
    #: then stay as they are.
    defaults: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Step:
    """One call that has to be made."""

    action: Action
    name: str
    #: Why, where the changes do not say it.
    reason: str = ""
    changes: Changes = field(default_factory=dict)
    #: What the call sends: options, a policy, or nothing.
    body: Mapping[str, Any] = field(default_factory=dict)


def plan(declared: DeclaredState, found: Found, *, prune: bool = False) -> list[Step]:
    """The steps that make what is found into what is wanted; none if it is so already.

    What is removed comes last, so that nothing is taken away before its successor is there.

    Args:
        prune: remove what the file does not list, of the kinds that the file speaks of. Versions that
            remaining endpoints use are never undeployed.
    """
    steps = [*_deployments(declared.deployments or (), found), *_endpoints(declared, found)]
    if prune:
        steps += _removals(declared, found)
    order = [*Action]
    return sorted(steps, key=lambda step: (order.index(step.action), step.name))


def awaited(declared: DeclaredState, found: Found, steps: list[Step]) -> list[Step]:
    """What is as declared and does not serve yet: a waiting step for each."""
    named = {step.name for step in steps}
    return [
        Step(Action.AWAIT, one.name, "it does not serve yet")
        for one in declared.deployments or ()
        if one.name not in named
        and (known := found.deployments.get(one.name)) is not None
        and known.starting
    ]


def differences(before: Mapping[str, Any], after: Mapping[str, Any], of: str = "") -> Changes:
    """Where two values of nested members differ, by dotted name; None for a member that is missing."""
    changes: dict[str, tuple[Any, Any]] = {}
    for name in [*before, *(name for name in after if name not in before)]:
        old, new = before.get(name), after.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            changes |= differences(old, new, f"{of}{name}.")
        elif old != new:
            changes[f"{of}{name}"] = (old, new)
    return changes


def _deployments(declared: tuple[DeclaredDeployment, ...], found: Found) -> Iterator[Step]:
    for one in declared:
        known = found.deployments.get(one.name)
        if known is None:
            reason = f"the alias {one.alias} names it" if one.alias else ""
            yield Step(Action.DEPLOY, one.name, reason, body=one.options)
            continue
        changes = _option_changes(one, known, found.defaults)
        if known.failure:
            yield Step(Action.DEPLOY, one.name, f"it failed: {known.failure}", changes, one.options)
        elif changes:
            body = {name: one.options.get(name) for name in changes}
            yield Step(Action.CHANGE, one.name, changes=changes, body=body)


def _option_changes(
    one: DeclaredDeployment, known: FoundDeployment, defaults: Mapping[str, Any] | None
) -> Changes:
    rest = known.options if defaults is None else defaults
    before = {
        name: rest.get(name) if value is None else value for name, value in known.options.items()
    }
    after = {name: rest.get(name, value) for name, value in before.items()} | {**one.options}
    # An option is changed as a whole, also one that has members.
    return {
        name: (before.get(name), after[name]) for name in after if before.get(name) != after[name]
    }


def _endpoints(declared: DeclaredState, found: Found) -> Iterator[Step]:
    for name, policy in (declared.endpoints or {}).items():
        known = found.endpoints.get(name)
        if known is None:
            yield Step(Action.SET_ENDPOINT, name, "it is new", body=policy)
        elif changes := differences(known.policy, policy):
            yield Step(Action.SET_ENDPOINT, name, changes=changes, body=policy)


def _removals(declared: DeclaredState, found: Found) -> Iterator[Step]:
    gone = (
        set() if declared.endpoints is None else found.endpoints.keys() - declared.endpoints.keys()
    )
    listed = {one.name for one in declared.deployments or ()}
    failed = {name for name, one in found.deployments.items() if one.failure}
    for endpoint in gone:
        yield Step(Action.DELETE_ENDPOINT, endpoint, "it is not in the file")
        for name in sorted(found.endpoints[endpoint].holds & listed - failed):
            yield Step(Action.KEEP, name, f"the endpoint {endpoint}, which is deleted, uses it")
    if declared.deployments is None:
        return
    held = {
        name
        for endpoint, one in found.endpoints.items()
        if endpoint not in gone
        for name in one.holds
    }
    for name in found.deployments.keys() - listed - held:
        yield Step(Action.UNDEPLOY, name, "it is not in the file")
