"""What a run does to hand a version to an endpoint."""

from __future__ import annotations

from typing import Any

from prefect import get_run_logger

from model_deployment.client import ApiError
from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import InvalidProject
from model_deployment_flows import handover, registry
from model_deployment_flows.handover import Handover, Outcome
from model_deployment_flows.registry import ModelVersion
from model_deployment_flows.run_context import RunContext
from model_deployment_flows.steps.judge import chosen_version
from model_deployment_flows.steps.train import move_alias
from model_deployment_flows.tasks import controller_task, local_task, registry_task


def hand_over(context: RunContext, version: int | None, wait: float) -> dict[str, Any]:
    """Move the alias that the endpoint follows, and wait for the rollout."""
    settings, log = context.settings, get_run_logger()
    if settings.endpoint is None:
        raise InvalidProject(
            f"cannot deploy a model of {context.name}: the experiment has no endpoint; add "
            f"`endpoint: {settings.model}@champion` to it in settings.yaml"
        )
    name = EndpointName.parse(settings.endpoint)
    candidate = find_challenger(context, version)
    before = ask_endpoint(context)
    log.info("hands version %d to %s", candidate.version, name)
    result = {"model": settings.model, "version": candidate.version, "endpoint": str(name)}
    if before.champion == candidate.version and before.settled:
        return {**result, "outcome": str(Outcome.SERVES), "reason": "it served before"}
    served = find_served(context)
    move_alias(settings.model, name.alias, candidate.version)
    ensure_endpoint(context, candidate.version)
    found = await_verdict(context, candidate.version, before.newest_rollout, wait)
    if found.outcome is Outcome.ROLLED_BACK:
        back = found.champion or (served and served.version)
        restore_alias(settings.model, name.alias, candidate.version, back)
    return {
        **result,
        "outcome": str(found.outcome),
        "reason": found.reason,
        "champion": found.champion,
    }


@registry_task(name="find challenger")
def find_challenger(context: RunContext, version: int | None) -> ModelVersion:
    """The version to hand over."""
    model = context.settings.model
    return chosen_version(model, version, registry.CHALLENGER, "run eval_flow first")


@registry_task(name="find served version")
def find_served(context: RunContext) -> ModelVersion | None:
    """The version that the endpoint's alias names before it moves."""
    name = EndpointName.parse(str(context.settings.endpoint))
    return registry.version_at(name.model, name.alias)


@controller_task(name="ask endpoint")
def ask_endpoint(context: RunContext) -> handover.Before:
    """What the endpoint serves before the alias moves."""
    with handover.controller(context.environment) as client:
        return handover.before(client, str(context.settings.endpoint))


@controller_task(name="set endpoint")
def ensure_endpoint(context: RunContext, version: int) -> None:
    """Make the endpoint if there is none; have it try a version again that it had rolled back."""
    name = str(context.settings.endpoint)
    with handover.controller(context.environment) as client:
        found = handover.endpoint(client, name)
        if found is None:
            client.set_endpoint(name)
            get_run_logger().info("made the endpoint %s", name)
        elif handover.is_refused(found, version):
            try:
                client.resume(name)
            except ApiError as error:
                if error.status != 409:  # it is under way meanwhile
                    raise


@local_task(name="await verdict")
def await_verdict(context: RunContext, version: int, after: int, wait: float) -> Handover:
    """Wait for what the endpoint's rollout decides."""
    with handover.controller(context.environment) as client:
        return handover.follow(
            client,
            str(context.settings.endpoint),
            version,
            after=after,
            wait=wait,
            told=get_run_logger().info,
        )


@registry_task(name="restore alias")
def restore_alias(model: str, alias: str, version: int, champion: int | None) -> None:
    """Have the alias name the champion again, unless somebody has moved it since."""
    found = registry.version_at(model, alias)
    if champion is None or champion == version or found is None or found.version != version:
        return
    registry.move_alias(model, alias, champion)
    get_run_logger().info("alias %s names the champion again, version %d", alias, champion)
