"""What has to be done so that a controller has what a file declares: against a simulated controller."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_deployment.cli.declared.document import InvalidDocument, declared_state, read
from model_deployment.cli.declared.export import export
from model_deployment.cli.declared.plan import (
    Action,
    DeclaredDeployment,
    DeclaredState,
    Found,
    FoundDeployment,
    FoundEndpoint,
    Step,
    plan,
)
from model_deployment.core.options import Options
from model_deployment.core.rollout_policy import (
    Canary,
    Checks,
    GuardLimits,
    RolloutPolicy,
    ShadowPolicy,
)

#: As JSON, like all that comes from a controller.
DEFAULTS: dict[str, Any] = json.loads(json.dumps(Options(retention_days=30.0).as_dict()))
MODELS = ("diabetes", "wine 2")


@dataclass
class Simulated:
    """A controller: options by name, policies and what they use by name."""

    deployments: dict[str, FoundDeployment] = field(default_factory=dict)
    endpoints: dict[str, FoundEndpoint] = field(default_factory=dict)
    #: Deployments that the deletion of an endpoint removes; others stay.
    made: set[str] = field(default_factory=set)

    def found(self) -> Found:
        return Found(dict(self.deployments), dict(self.endpoints), DEFAULTS)

    def obey(self, step: Step) -> None:
        model, _, version = step.name.rpartition("-")
        match step.action:
            case Action.DEPLOY:
                options = DEFAULTS | dict(step.body)
                self.deployments[step.name] = FoundDeployment(model, int(version), options)
                self.made.discard(step.name)
            case Action.KEEP:
                assert step.name in self.deployments
                self.made.discard(step.name)
            case Action.CHANGE:
                old = self.deployments[step.name].options
                new = {n: DEFAULTS[n] if v is None else v for n, v in step.body.items()}
                self.deployments[step.name] = FoundDeployment(model, int(version), {**old, **new})
            case Action.SET_ENDPOINT:
                holds = self.endpoints[step.name].holds if step.name in self.endpoints else set()
                self.endpoints[step.name] = FoundEndpoint(step.body, holds)
            case Action.DELETE_ENDPOINT:
                held = self.endpoints.pop(step.name).holds
                others = {name for one in self.endpoints.values() for name in one.holds}
                for name in (held & self.made) - others:
                    self.deployments.pop(name, None)
            case Action.UNDEPLOY:
                assert not any(step.name in one.holds for one in self.endpoints.values())
                self.deployments.pop(step.name, None)


options = st.fixed_dictionaries(
    {},
    optional={
        "workers": st.integers(1, 64),
        "validation": st.sampled_from(["strict", "coerce", "observe"]),
        "batch_max_rows": st.one_of(st.just("auto"), st.integers(0, 100)),
        "capture_exclude": st.lists(st.sampled_from("abc"), unique=True),
        "retention_days": st.sampled_from([1.0, 30.0]),
        "idle_timeout": st.sampled_from([0.0, 60.0]),
    },
)
policies = st.builds(
    RolloutPolicy,
    options=options,
    checks=st.builds(
        Checks,
        replay=st.integers(0, 500),
        shadow=st.none() | st.builds(ShadowPolicy, share=st.sampled_from([5.0, 20.0])),
    ),
    canary=st.builds(Canary, steps=st.sampled_from([(), (5.0, 25.0, 50.0), (10.0,)])),
    guard=st.builds(GuardLimits, latency=st.sampled_from([0.0, 1.5])),
    recreate=st.booleans(),
).map(RolloutPolicy.as_dict)
keys = st.tuples(st.sampled_from(MODELS), st.integers(1, 4))
names = keys.map(lambda key: f"{key[0]}-{key[1]}")
endpoint_names = st.sampled_from([f"{model}@{alias}" for model in MODELS for alias in ("a", "b")])


@st.composite
def controllers(draw: st.DrawFn) -> Simulated:
    deployed = draw(st.dictionaries(keys, st.tuples(options, st.sampled_from(["", "it broke"]))))
    found = {
        f"{model}-{version}": FoundDeployment(model, version, DEFAULTS | own, failure)
        for (model, version), (own, failure) in deployed.items()
    }
    holds = st.frozensets(st.sampled_from(sorted(found))) if found else st.just(frozenset[str]())
    endpoints = draw(st.dictionaries(endpoint_names, st.builds(FoundEndpoint, policies, holds)))
    return Simulated(found, endpoints, draw(st.sets(names)))


states = st.builds(
    DeclaredState,
    st.none()
    | st.dictionaries(keys, options).map(
        lambda them: tuple(DeclaredDeployment(*key, own) for key, own in them.items())
    ),
    st.none() | st.dictionaries(endpoint_names, policies),
)


@given(states, controllers(), st.booleans())
def test_after_all_steps_nothing_is_left_to_do(
    declared: DeclaredState, controller: Simulated, prune: bool
) -> None:
    before = controller.found()
    for step in plan(declared, before, prune=prune):
        controller.obey(step)
    assert plan(declared, controller.found(), prune=prune) == []
    for one in declared.deployments or ():
        assert controller.deployments[one.name].options == DEFAULTS | dict(one.options)
    if not prune:
        assert before.deployments.keys() <= controller.deployments.keys()
        assert before.endpoints.keys() <= controller.endpoints.keys()


@settings(max_examples=40)  # YAML is slow
@given(controllers(), st.booleans())
def test_what_was_exported_changes_nothing_when_it_is_applied(
    controller: Simulated, prune: bool
) -> None:
    for name, one in controller.deployments.items():
        controller.deployments[name] = FoundDeployment(one.model, one.version, one.options)
    found = controller.found()
    again = declared_state(read(export(found), "exported.yaml"), {})
    assert plan(again, found, prune=prune) == []
    # Without the defaults, all options are written, and stay.
    blind = Found(found.deployments, found.endpoints, None)
    assert plan(declared_state(read(export(blind), "exported.yaml"), {}), blind, prune=prune) == []


def test_steps_say_what_differs_and_remove_last() -> None:
    found = Found(
        {
            "wine-1": FoundDeployment("wine", 1, DEFAULTS | {"workers": 3}),
            "wine-2": FoundDeployment("wine", 2, DEFAULTS),
            "wine-9": FoundDeployment("wine", 9, DEFAULTS),
            "iris-1": FoundDeployment("iris", 1, DEFAULTS, "it broke"),
        },
        {"wine@champion": FoundEndpoint(RolloutPolicy().as_dict(), {"wine-2"})},
        DEFAULTS,
    )
    declared = DeclaredState(
        (
            DeclaredDeployment("wine", 1, {"idle_timeout": 60.0}),
            DeclaredDeployment("iris", 1),
            DeclaredDeployment("iris", 2, {}, "champion"),
        ),
        {"wine@champion": RolloutPolicy(canary=Canary(steps=())).as_dict()},
    )
    steps = plan(declared, found, prune=True)
    assert [(one.action, one.name, one.reason) for one in steps] == [
        (Action.DEPLOY, "iris-1", "it failed: it broke"),
        (Action.DEPLOY, "iris-2", "the alias champion names it"),
        (Action.CHANGE, "wine-1", ""),
        (Action.SET_ENDPOINT, "wine@champion", ""),
        (Action.UNDEPLOY, "wine-9", "it is not in the file"),
    ]
    assert steps[2].changes == {"workers": (3, 1), "idle_timeout": (0.0, 60.0)}
    assert steps[2].body == {"workers": None, "idle_timeout": 60.0}
    assert steps[3].changes == {"canary.steps": ([5.0, 25.0, 50.0], [])}
    # Options that the file does not name stay where their defaults are unknown.
    blind = Found(found.deployments, found.endpoints, None)
    assert plan(declared, blind)[2].changes == {"idle_timeout": (0.0, 60.0)}


def test_an_option_that_an_earlier_release_left_open_is_the_default() -> None:
    open_ = {"wine-1": FoundDeployment("wine", 1, DEFAULTS | {"retention_days": None})}
    found = Found(open_, {}, DEFAULTS)
    assert plan(declared_state(read(export(found), "exported.yaml"), {}), found, prune=True) == []
    (step,) = plan(
        DeclaredState((DeclaredDeployment("wine", 1, {"retention_days": 1.0}),), None), found
    )
    assert step.changes == {"retention_days": (30.0, 1.0)}


GOOD = """\
deployments:
- model: diabetes
  alias: champion
  options: {idle_timeout: 12h, workers: 2}
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "f.yaml:1: cannot read the YAML"),
        ("- 1", "f.yaml:1: it must be a mapping, got a list"),
        ("deployments: []\ndeployments: []", "f.yaml:2: deployments stands here twice"),
        (
            "deployments:\n- {model: m, version: 1}\n- model: m\n  version: '1'\n",
            'f.yaml:4: deployments.1.version: it must be a valid integer, got "1"',
        ),
        (
            "deployments:\n- model: m\n  version: 1\n  options:\n    worker: 2\n",
            "f.yaml:5: deployments.0.options.worker: there is no such member; did you mean workers?",
        ),
        (
            "deployments:\n- model: m\n",
            "f.yaml:2: deployments.0: name either a version or an alias",
        ),
        ("endpoints:\n- name: wine\n", "f.yaml:2: endpoints.0: cannot find 'wine'"),
        (
            "endpoints:\n- name: a@b\n  policy:\n    canary:\n      steps: [5, 5]\n",
            "f.yaml:5: endpoints.0.policy.canary.steps: each step must be larger",
        ),
    ],
)
def test_an_error_in_the_file_names_its_line(text: str, said: str) -> None:
    with pytest.raises(InvalidDocument) as raised:
        read(text, "f.yaml")
    assert said in raised.value.detail


@pytest.mark.parametrize(
    ("more", "aliases", "said"),
    [
        ("", {}, "f.yaml:3: cannot find the model diabetes in the registry"),
        ("", {"diabetes": {"old": 1}}, "diabetes has no alias champion; its aliases: old"),
        (
            "- {model: diabetes, version: 2}\n",
            {"diabetes": {"champion": 2}},
            "f.yaml:5: diabetes-2 is declared twice, with other options",
        ),
    ],
)
def test_aliases_are_looked_up(more: str, aliases: Mapping[str, Any], said: str) -> None:
    with pytest.raises(InvalidDocument) as raised:
        declared_state(read(GOOD + more, "f.yaml"), aliases)
    assert said in raised.value.detail
    found = declared_state(read(GOOD, "f.yaml"), {"diabetes": {"champion": 7}})
    assert found == DeclaredState(
        (DeclaredDeployment("diabetes", 7, {"idle_timeout": 43200.0, "workers": 2}, "champion"),),
        None,
    )
