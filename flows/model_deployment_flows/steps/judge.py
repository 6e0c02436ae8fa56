"""What a run does to judge a version beside the champion."""

from __future__ import annotations

from typing import Any

import mlflow
from prefect import get_run_logger

from model_deployment.core.errors import NotFound
from model_deployment_flows import evaluation_run, registry
from model_deployment_flows.champion import champion_of
from model_deployment_flows.evaluation import Comparison, Evaluation, Scores, Verdict, evaluate
from model_deployment_flows.experiment import Experiment
from model_deployment_flows.metrics import Incomparable
from model_deployment_flows.registry import ModelVersion
from model_deployment_flows.run_context import Data, RunContext
from model_deployment_flows.steps.train import move_alias
from model_deployment_flows.tasks import Leave, leave_page, local_task, registry_task, run_id


def judge(
    context: RunContext,
    data: str | None,
    version: int | None,
    *,
    force: bool = False,
    leave: Leave | None = None,
) -> dict[str, Any]:
    """Evaluate, leave the result, and move the alias ``challenger`` last, if the version passes.

    Args:
        force: a version passes that can be compared with nothing.
    """
    candidate = find_candidate(context, version)
    champion = find_champion(context)
    model = context.settings.model
    log = get_run_logger()
    if champion is not None and champion.version == candidate.version:
        log.info(
            "version %d of %s serves already: there is nothing to decide", candidate.version, model
        )
        result = {"model": model, "version": candidate.version, "verdict": "serves"}
        if leave is not None:
            leave(result)
        return result
    chosen = context.data(data or candidate.tags.get("data_sha256") or None)
    comparisons = [compare_on(context, chosen, "new", candidate, champion)]
    original = context.original()
    if chosen.sha256 != original.sha256:
        comparisons.append(compare_on(context, original, "original", candidate, champion))
    found = evaluate(
        context.settings,
        candidate.version,
        champion and champion.version,
        comparisons,
        force=force,
    )
    log.info("version %d of %s: %s", candidate.version, model, found.verdict)
    for reason in found.reasons:
        log.info("%s", reason)
    log_evaluation(candidate, found)
    leave_page("evaluation", found.markdown(), "The candidate beside the champion")
    result = {"model": model, "version": candidate.version, **found.as_dict()}
    result["alias"] = registry.CHALLENGER if found.verdict is Verdict.PASSED else None
    if leave is not None:
        leave(result)
    if found.verdict is Verdict.PASSED:
        move_alias(model, registry.CHALLENGER, candidate.version)
    return result


@registry_task(name="find candidate")
def find_candidate(context: RunContext, version: int | None) -> ModelVersion:
    """The version to judge."""
    return chosen_version(context.settings.model, version, registry.NEWEST, "run train_flow first")


@registry_task(name="find champion")
def find_champion(context: RunContext) -> ModelVersion | None:
    """The version that serves."""
    champion = champion_of(context)
    said = f"version {champion.version}" if champion else "there is none"
    get_run_logger().info("champion: %s", said)
    return champion


@local_task(name="compare")
def compare_on(
    context: RunContext,
    data: Data,
    name: str,
    candidate: ModelVersion,
    champion: ModelVersion | None,
) -> Comparison:
    """The scores of both versions on the held-out rows of some data."""
    experiment = context.experiment()
    split = experiment.divide(context.read(data))
    X, y = split.X_test, split.y_test
    mine = score_version(experiment, candidate, X, y)
    other = None if champion is None else score_version(experiment, champion, X, y)
    return Comparison(name, data.sha256, len(X), mine, other)


@registry_task(name="score version")
def score_version(experiment: Experiment, version: ModelVersion, X: Any, y: Any) -> Scores:
    """What a version scores; a version that cannot predict these rows has no scores."""
    try:
        model = mlflow.pyfunc.load_model(version.uri)
    except Exception as error:
        if registry.is_passing(error):
            raise
        return Scores(error=f"it cannot be loaded here: {type(error).__name__}: {error}"[:500])
    try:
        scores = experiment.score(y, experiment.predict(model, X))
    except Incomparable as error:
        get_run_logger().warning("version %d has no scores: %s", version.version, error)
        return Scores(error=str(error))
    except Exception as error:
        get_run_logger().warning("version %d cannot predict: %s", version.version, error)
        return Scores(error=f"{type(error).__name__}: {error}"[:500])
    get_run_logger().info(
        "version %d on %d rows: %s",
        version.version,
        len(X),
        ", ".join(f"{name} {value:.4g}" for name, value in scores.items()),
    )
    return Scores(scores)


@registry_task(name="log evaluation")
def log_evaluation(candidate: ModelVersion, found: Evaluation) -> None:
    """Log the verdict: as a file and metrics of the version's run, and as tags of the version."""
    evaluation_run.log(candidate, found, run_id())


def chosen_version(model: str, version: int | None, alias: str, advice: str) -> ModelVersion:
    """A version by its number, else the one that an alias names.

    Raises:
        NotFound: there is none.
    """
    if version is not None:
        return registry.version_of(model, version)
    found = registry.version_at(model, alias)
    if found is None:
        raise NotFound(
            f"cannot find a version of {model} with the alias {alias}: {advice}, or name a version"
        )
    return found
