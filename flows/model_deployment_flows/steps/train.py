"""What a run does to train a model: study, fit, registration, alias."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from mlflow.entities import RunStatus
from prefect import get_run_logger

from model_deployment.core.errors import InvalidRequest
from model_deployment_flows import registry, training_run
from model_deployment_flows.experiment import Estimator, Experiment, Split
from model_deployment_flows.provenance import Recipe, commit, recipe
from model_deployment_flows.run_context import Data, RunContext
from model_deployment_flows.study import StudyResult, TrialResult, search
from model_deployment_flows.tasks import Leave, leave_page, local_task, registry_task, run_id
from model_deployment_flows.training_run import SavedModel, TrainingRun

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a training does."""

    context: RunContext
    data: Data
    experiment: Experiment
    recipe: Recipe
    trials: int
    timeout: float

    @classmethod
    def of(
        cls,
        context: RunContext,
        data: Data,
        model_type: str,
        trials: int | None,
        timeout: float | None,
        epochs: int | None,
    ) -> Plan:
        """Raises InvalidRequest: there is no such model type."""
        settings = context.settings
        if model_type not in settings.choices_of_model_type:
            raise InvalidRequest(
                f"cannot train a model of type {model_type[:70]!a}: {context.name} has "
                f"{', '.join(settings.choices_of_model_type)}"
            )
        experiment = context.experiment(epochs)
        chosen = settings.model_types if model_type == AUTO else (model_type,)
        found = recipe(
            settings,
            context.folder,
            data_sha256=data.sha256,
            model_types=chosen,
            epochs=experiment.epochs,
        )
        return cls(
            context,
            data,
            experiment,
            found,
            settings.trials if trials is None else trials,
            settings.timeout if timeout is None else timeout,
        )

    @property
    def tags(self) -> dict[str, str]:
        """Of the run in MLflow, and of the version."""
        return {
            "experiment": self.context.name,
            "data_sha256": self.data.sha256,
            "settings_sha256": self.context.settings_sha256,
            "git_commit": commit(self.context.folder),
            "flow_run_id": run_id(),
        }


def train(plan: Plan, leave: Leave | None = None) -> dict[str, Any]:
    """Train, register, leave the result, and move the alias ``newest`` last."""
    model = plan.context.settings.model
    run = open_run(plan)
    version = find_version(run, model)
    if version is None:
        try:
            result = _train(plan, run)
        except BaseException as error:  # a signal, too
            status = RunStatus.FAILED if isinstance(error, Exception) else RunStatus.KILLED
            with suppress(Exception):  # the error above says more
                training_run.finish(run, status)
            raise
    else:
        get_run_logger().info(
            "version %d of %s was trained with these data, settings and modules", version, model
        )
        result = {"version": version, "trained": False}
    result |= {
        "model": model,
        "alias": registry.NEWEST,
        "data_sha256": plan.data.sha256,
        "mlflow_run_id": run.run_id,
    }
    if leave is not None:
        leave(result)
    move_alias(model, registry.NEWEST, result["version"])
    return result


def _train(plan: Plan, run: TrainingRun) -> dict[str, Any]:
    context, experiment = plan.context, plan.experiment
    split = read_split(context, experiment, plan.data)
    found = run_study(plan, split)
    log_trials(run, found)
    best = choose_trial(run, found)
    estimator, scores = fit_best(experiment, best, split)
    log_reference(experiment, run, split, plan.data)
    saved = log_model(experiment, run, estimator, split, best)
    log_results(run, best, scores)
    version = register_version(plan, run, saved, best, scores)
    finish_run(run)
    leave_page("training", _page(plan, found, best, version, scores), "What was trained")
    return {
        "version": version,
        "trained": True,
        "model_type": str(best.params.get("model_type", "")),
        "params": best.params,
        "trials": len(found.trials),
        "failed_trials": sum(bool(one.error) for one in found.trials),
        "metrics": scores,
    }


@registry_task(name="open run")
def open_run(plan: Plan) -> TrainingRun:
    """The MLflow run of this training, which a killed run may have begun."""
    key = plan.recipe.training(plan.trials, plan.timeout)
    name = f"train {plan.context.name} {plan.data.sha256[:8]}"
    run = training_run.open_run(plan.context.name, key, name, plan.tags)
    get_run_logger().info("MLflow run %s, on %s", run.run_id, plan.data)
    return run


@registry_task(name="find version")
def find_version(run: TrainingRun, model: str) -> int | None:
    """The version that this training has registered before, if it has."""
    return training_run.registered(run, model)


@local_task(name="read data")
def read_split(context: RunContext, experiment: Experiment, data: Data) -> Split:
    """The prepared rows, without those that are held out for the evaluation."""
    split = experiment.divide(context.read(data))
    get_run_logger().info(
        "%d rows to train with, %d rows held out", len(split.X_train), len(split.X_test)
    )
    return split


@local_task(name="study")
def run_study(plan: Plan, split: Split) -> StudyResult:
    """Run the trials that the study does not have yet."""
    log = get_run_logger()
    metric = plan.context.settings.metric

    def told(trial: TrialResult, ended: int) -> None:
        what = f"trial {ended} of {plan.trials}, {trial.params.get('model_type')}"
        if trial.error:
            log.warning("%s failed: %s", what, trial.error)
        else:
            log.info("%s: %s %.4g", what, metric, trial.scores[metric])

    folder = plan.context.environment.data_dir / "flows" / "studies" / plan.context.name
    found = search(
        plan.experiment,
        split.X_train,
        split.y_train,
        file=folder / f"{plan.recipe.study}.db",
        model_types=plan.recipe.model_types,
        trials=plan.trials,
        timeout=plan.timeout,
        told=told,
    )
    log.info("best: trial %d, %s", found.best.number, found.best.params)
    return found


@registry_task(name="log trials")
def log_trials(run: TrainingRun, found: StudyResult) -> None:
    """Log the trials to MLflow, as runs within the run."""
    training_run.log_trials(run, found.trials)


@registry_task(name="choose trial")
def choose_trial(run: TrainingRun, found: StudyResult) -> TrialResult:
    """The best trial, unless a killed run had chosen another one for the model of this training."""
    return training_run.choose(run, found.trials, found.best)


@local_task(name="fit best")
def fit_best(
    experiment: Experiment, best: TrialResult, split: Split
) -> tuple[Estimator, dict[str, float]]:
    """Fit the best parameters on all training rows; the scores are those of the held-out rows."""
    estimator = experiment.build(best.params)
    estimator.fit(split.X_train, split.y_train)
    scores = experiment.score(split.y_test, experiment.predict(estimator, split.X_test))
    get_run_logger().info(
        "on the held-out rows: %s",
        ", ".join(f"{name} {value:.4g}" for name, value in scores.items()),
    )
    return estimator, scores


@registry_task(name="log training data")
def log_reference(experiment: Experiment, run: TrainingRun, split: Split, data: Data) -> None:
    """Log the rows that the model was trained on, for degradation reports."""
    rows = experiment.reference(split.X_train, split.y_train)
    if rows is not None:
        name = experiment.settings.name
        training_run.log_reference(run, rows, data.path, name, data.sha256)


@registry_task(name="log model")
def log_model(
    experiment: Experiment, run: TrainingRun, estimator: Estimator, split: Split, best: TrialResult
) -> SavedModel:
    """Log the model with its signature and example."""
    example = experiment.example(split.X_train)
    return training_run.log_model(run, lambda: experiment.log(estimator, example, best.params))


@registry_task(name="log results")
def log_results(run: TrainingRun, best: TrialResult, scores: dict[str, float]) -> None:
    """Log the chosen parameters and the scores."""
    metrics = {f"validation_{name}": value for name, value in best.scores.items()}
    metrics |= {f"test_{name}": value for name, value in scores.items()}
    training_run.log_results(run, best.params, metrics)


@registry_task(name="register")
def register_version(
    plan: Plan, run: TrainingRun, saved: SavedModel, best: TrialResult, scores: dict[str, float]
) -> int:
    """Register the model with all its tags in one call, unless it is registered already."""
    metric = plan.context.settings.metric
    tags = {**plan.tags, "model_type": str(best.params.get("model_type", ""))}
    said = f"{metric} {scores[metric]:.4g} on rows held out" if metric in scores else ""
    model = plan.context.settings.model
    version = training_run.register(run, model, saved, tags, said)
    get_run_logger().info("registered version %d of %s", version, model)
    return version


@registry_task(name="finish run")
def finish_run(run: TrainingRun) -> None:
    """Say in MLflow that the run has ended."""
    training_run.finish(run)


@registry_task(name="move alias")
def move_alias(model: str, alias: str, version: int) -> None:
    """Have an alias name a version."""
    registry.move_alias(model, alias, version)
    get_run_logger().info("alias %s of %s names version %d", alias, model, version)


def _page(
    plan: Plan, found: StudyResult, best: TrialResult, version: int, scores: dict[str, float]
) -> str:
    metric = plan.context.settings.metric
    lines = [
        f"# Version {version} of {plan.context.settings.model}",
        "",
        f"Trained on {plan.data}; {len(found.trials)} trials, the best is number {best.number}.",
        "",
        "| parameter | value |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in best.params.items()),
        "",
        "| metric | validation | held-out rows |",
        "| --- | --- | --- |",
        *(
            f"| {name} | {best.scores.get(name, float('nan')):.4g} | {value:.4g} |"
            for name, value in scores.items()
        ),
        "",
        f"The study optimises {metric}.",
    ]
    return "\n".join(lines)
