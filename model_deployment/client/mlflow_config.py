"""What MLflow's deployment calls are given, in the words of this API: names, model URIs, ``-C`` values."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: ``models:/<model>/<version>``, or ``models:/<model>@<alias>``.
_MODEL_URI = re.compile(
    r"models:/{1,3}(?P<model>[^/@]+)(?:/(?P<version>[0-9]+|latest)|@(?P<alias>[^/@]+))"
)
#: Keys of a config that are no options of a deployment.
_WAIT, _REPLACE, _STRATEGY = "wait", "replace", "strategy"
#: Seconds that a call waits unless its config says otherwise: MLflow's calls end with the outcome.
DEFAULT_WAIT = 600.0

#: What ``mlflow deployments help`` prints.
HELP = """\
Target: model-deployment://HOST:PORT, the address of a controller of model_deployment, or of the gateway in
front of it; with TLS model-deployment:https://HOST. Without an address: MODEL_DEPLOYMENT_URL, else
127.0.0.1:8000. User and password: model-deployment://USER:PASSWORD@HOST:PORT, or better the variables
MODEL_DEPLOYMENT_USER and MODEL_DEPLOYMENT_PASSWORD.

Deployments: models:/diabetes/3 is served as the deployment diabetes-3. models:/diabetes@champion is served
as the endpoint diabetes@champion, which follows the alias: a new version proves itself before it answers
everybody. Only registered models can be deployed. The flavor is python_function.

Config (-C name=value) of a deployment: its options, such as workers=2, validation=coerce, idle_timeout=12h
or capture_exclude=["ssn"]; wait=SECONDS (600); replace=true changes a deployment that exists;
strategy=recreate changes one for which memory has no room beside the old launch.

Config of an endpoint: its policy, such as canary.steps=[5,50], checks.replay=500, guard.latency=1.5 or
options.workers=2. Updating an endpoint with a model URI moves the alias in the registry that
MLFLOW_TRACKING_URI names, and waits until the version serves.

All options and policies: docs/reference/http.md of model_deployment.
"""


class BadRequest(ValueError):
    """A name, a model URI or a config that cannot be used."""


@dataclass(frozen=True, slots=True)
class ModelUri:
    """A version of a registered model, or an alias of it."""

    model: str
    #: Text, or ``latest``; None if there is an alias.
    version: str | None
    alias: str | None

    @classmethod
    def parse(cls, uri: str) -> "ModelUri":
        """
        Raises:
            BadRequest: it names no registered version or alias.
        """
        if match := _MODEL_URI.fullmatch(uri):
            return cls(match["model"], match["version"], match["alias"])
        raise BadRequest(
            f"cannot deploy {uri!r}: write models:/<model>/<version> or models:/<model>@<alias>. The "
            "controller serves registered models; mlflow.register_model registers those of runs and files"
        )

    @property
    def endpoint(self) -> str:
        return f"{self.model}@{self.alias}"

    def deployment(self, version: int | str) -> str:
        return f"{self.model}-{version}"


@dataclass(frozen=True, slots=True)
class DeployConfig:
    """The config of a deployment."""

    options: dict[str, Any]
    wait: float
    replace: bool
    #: ``beside`` or ``recreate``; None: the default.
    strategy: Any


def deploy_config(config: Mapping[str, Any] | None) -> DeployConfig:
    """Read a config; values of the command line are text, such as ``2``, ``true`` and ``["a"]``.

    Raises:
        BadRequest: ``wait`` is no number.
    """
    values = {key: value_of(value) for key, value in (config or {}).items()}
    wait, replace = values.pop(_WAIT, DEFAULT_WAIT), values.pop(_REPLACE, False)
    strategy = values.pop(_STRATEGY, None)
    if isinstance(wait, bool) or not isinstance(wait, int | float):
        raise BadRequest(f"cannot use wait={wait!r}: write seconds, as a number")
    return DeployConfig(values, float(wait), bool(replace), strategy)


def policy_config(
    config: Mapping[str, Any] | None, before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A policy from a config, in which ``canary.steps`` is a member of ``canary``.

    Args:
        before: the policy that the config changes.

    Raises:
        BadRequest: a key leads into something that has no members.
    """
    policy: dict[str, Any] = json.loads(json.dumps(dict(before or {})))
    for key, value in (config or {}).items():
        *parents, last = key.split(".")
        place = policy
        for parent in parents:
            if place.get(parent) is None:
                place[parent] = {}
            place = place[parent]
            if not isinstance(place, dict):
                raise BadRequest(f"cannot use {key!r}: {parent} has no members")
        place[last] = value_of(value)
    return policy


def value_of(value: Any) -> Any:
    """A value of a config: text that is JSON means what it says, other text itself."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def address_of(target: str) -> str:
    """The address in a target: what follows ``model-deployment:`` or ``model-deployment://``."""
    rest = target.removeprefix("model-deployment").removeprefix(":")
    return rest.removeprefix("//")


def check_name(name: str | None, expected: str, model_uri: str) -> None:
    """
    Raises:
        BadRequest: a deployment of the model has another name.
    """
    if name != expected:
        raise BadRequest(
            f"cannot call the deployment {name!r}: {model_uri} is served as {expected!r}"
        )


def check_flavor(flavor: str | None, known: str) -> None:
    """
    Raises:
        BadRequest: the model shall be served by another flavor.
    """
    if flavor not in (None, known):
        raise BadRequest(f"cannot serve the flavor {flavor!r}: models are served as {known}")
