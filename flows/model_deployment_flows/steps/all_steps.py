"""All steps, one after the other, each only if the one before it allows it."""

from dataclasses import dataclass
from typing import Any

from prefect import get_run_logger

from model_deployment_flows.evaluation import Verdict
from model_deployment_flows.run_context import RunContext
from model_deployment_flows.steps.examine import examine
from model_deployment_flows.steps.hand_over import hand_over
from model_deployment_flows.steps.judge import judge
from model_deployment_flows.steps.train import Plan, train
from model_deployment_flows.tasks import leave_result


@dataclass(frozen=True, slots=True)
class Wanted:
    """The parameters of the full flow."""

    force: bool
    model_type: str
    trials: int | None
    timeout: float | None
    epochs: int | None
    version: int | None
    wait: float


def all_steps(context: RunContext, data: str | None, wanted: Wanted) -> dict[str, Any]:
    """Analyse, train, judge and hand over; the result has a part for each step, and ``outcome``."""
    chosen = context.data(data)
    log = get_run_logger()
    settings, version = context.settings, wanted.version
    result: dict[str, Any] = {"data": examine(context, chosen, force=wanted.force)}
    if version is None:
        plan = Plan.of(
            context, chosen, wanted.model_type, wanted.trials, wanted.timeout, wanted.epochs
        )
        result["training"] = train(plan)
        version = int(result["training"]["version"])
    result["evaluation"] = judge(context, chosen.sha256, version, force=wanted.force)
    outcome = str(result["evaluation"]["verdict"])
    if outcome == Verdict.PASSED and settings.endpoint is not None:
        result["deployment"] = hand_over(context, version, wanted.wait)
        outcome = str(result["deployment"]["outcome"])
    elif outcome == Verdict.PASSED:
        log.info("%s has no endpoint: version %d stays the challenger", context.name, version)
        outcome = "challenger"
    result |= {"model": settings.model, "version": version, "outcome": outcome}
    leave_result(result)
    log.info("version %d of %s: %s", version, settings.model, outcome)
    return result
