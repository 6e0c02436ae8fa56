"""The search for the best parameters: an Optuna study in a file, which outlives a killed run."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from model_deployment_flows.experiment import Experiment, UnusableData

#: Attributes of a trial.
PARAMS, SCORES, ERROR, INTERRUPTED = "params", "scores", "error", "interrupted"
#: How often a run ended while it tried the parameters of this trial, in earlier trials.
_ENDED_BEFORE = "ended_before"
#: Ends of a run after which parameters are not tried again: they may be what ends it.
_MOST_ENDS = 3
_MODEL_TYPE = "model_type"
#: Earlier studies of an experiment whose files stay.
_KEPT = 20


class NoTrial(RuntimeError):
    """No trial of a study came to an end."""


@dataclass(frozen=True, slots=True)
class TrialResult:
    """A trial that has ended."""

    number: int
    started: datetime
    ended: datetime
    #: What was given to ``build``.
    params: dict[str, Any]
    #: Empty if the trial failed.
    scores: dict[str, float] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True, slots=True)
class StudyResult:
    """What a study found."""

    best: TrialResult
    #: All that ended, the failed ones too.
    trials: tuple[TrialResult, ...]


#: Told of each trial that ends, with the number of those that have ended.
Told = Callable[[TrialResult, int], None]


def search(
    experiment: Experiment,
    X: Any,
    y: Any,
    *,
    file: Path,
    model_types: tuple[str, ...],
    trials: int,
    timeout: float,
    told: Told = lambda trial, ended: None,
) -> StudyResult:
    """Run the trials that the study in ``file`` lacks, and return all.

    Trials that a killed run had begun are failed and tried again, parameters that ended three runs are not.
    A trial that raises an exception has failed; the study goes on.

    Args:
        model_types: the study chooses among them.
        trials: of the study, those of earlier runs included.
        timeout: seconds; no trial begins later.

    Raises:
        NoTrial: none succeeded.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = _open(file, experiment)
    if not study.trials:
        for model_type in model_types:  # each once, before the search prefers some
            study.enqueue_trial({_MODEL_TYPE: model_type})
    _clear_up(study)
    maximize, metric = experiment.settings.maximize, experiment.settings.metric

    def objective(trial: Trial) -> float:
        chosen = trial.suggest_categorical(_MODEL_TYPE, list(model_types))
        try:
            params = {**experiment.space(trial), _MODEL_TYPE: chosen}
            trial.set_user_attr(PARAMS, _plain(params))
            scores = experiment.validate(params, X, y)
            if metric not in scores:
                raise UnusableData(
                    f"score() of the experiment gives no {metric!r}, which the settings name as "
                    f"metric; it gives {', '.join(sorted(scores))}"
                )
        except Exception as error:
            trial.set_user_attr(ERROR, f"{type(error).__name__}: {error}"[:1000])
            raise
        trial.set_user_attr(SCORES, {name: float(value) for name, value in scores.items()})
        return float(scores[metric])

    def after(study: Study, trial: FrozenTrial) -> None:
        ended = _ended(study)
        told(_result(trial), len(ended))

    missing = trials - len(_ended(study))
    if missing > 0:
        study.optimize(
            objective, n_trials=missing, timeout=timeout, catch=(Exception,), callbacks=[after]
        )
    results = tuple(map(_result, _ended(study)))
    best = _best(results, metric, maximize, timeout)
    return StudyResult(best, results)


def _best(
    results: tuple[TrialResult, ...], metric: str, maximize: bool, timeout: float
) -> TrialResult:
    scored = [one for one in results if one.scores]
    if not scored:
        why = next((one.error for one in results if one.error), f"none ended within {timeout:g} s")
        raise NoTrial(f"cannot choose parameters: no trial succeeded; the first one: {why}")
    return (max if maximize else min)(scored, key=lambda one: one.scores[metric])


def _open(file: Path, experiment: Experiment) -> Study:
    if not file.exists():
        _create(file)
    storage = _storage(file)
    known = optuna.get_all_study_names(storage)
    before = len(optuna.load_study(study_name=known[0], storage=storage).trials) if known else 0
    direction = "maximize" if experiment.settings.maximize else "minimize"
    # The first trials are random: with the same seed, a study that goes on would draw them again.
    sampler = optuna.samplers.TPESampler(seed=experiment.seed + before)
    return optuna.create_study(
        storage=storage,
        sampler=sampler,
        study_name=experiment.settings.name,
        direction=direction,
        load_if_exists=True,
    )


def _create(file: Path) -> None:
    """Make the file under another name: a killed run leaves no half-made tables under this one."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for old in sorted(file.parent.glob("*.db"), key=lambda one: -one.stat().st_mtime)[_KEPT:]:
        old.unlink()
    for old in file.parent.glob(".*.db-*"):  # drafts of killed runs: one run at a time makes one
        old.unlink(missing_ok=True)
    draft = file.with_name(f".{file.name}-{secrets.token_hex(4)}")
    try:
        _storage(draft).engine.dispose()
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def _storage(file: Path) -> optuna.storages.RDBStorage:
    return optuna.storages.RDBStorage(
        f"sqlite:///{file}", engine_kwargs={"connect_args": {"timeout": 30}}
    )


def _plain(params: dict[str, Any]) -> dict[str, Any]:
    """Parameters as a study can keep them: numbers of NumPy become those of Python."""
    return {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in params.items()
    }


def _clear_up(study: Study) -> None:
    """Fail the trials that a killed run had begun, and queue their parameters.

    Parameters may need more memory than the machine has: then each run that tries them is killed.
    """
    queued = [one.params for one in study.get_trials(states=[TrialState.WAITING])]
    for trial in study.get_trials(states=[TrialState.RUNNING]):
        ends = trial.user_attrs.get(_ENDED_BEFORE, 0) + 1
        again = ends < _MOST_ENDS
        reason = (INTERRUPTED, True) if again else (ERROR, f"the run ended {ends} times during it")
        study._storage.set_trial_user_attr(trial._trial_id, *reason)
        study.tell(trial.number, state=TrialState.FAIL)
        if again and trial.params and trial.params not in queued:
            study.enqueue_trial(trial.params, user_attrs={_ENDED_BEFORE: ends})


def _ended(study: Study) -> list[FrozenTrial]:
    """The trials that count: not those that were interrupted."""
    return [
        one
        for one in study.get_trials(deepcopy=False)
        if one.state.is_finished() and not one.user_attrs.get(INTERRUPTED)
    ]


def _result(trial: FrozenTrial) -> TrialResult:
    attributes = trial.user_attrs
    started = trial.datetime_start or datetime.now()
    return TrialResult(
        trial.number,
        started.astimezone(),
        (trial.datetime_complete or started).astimezone(),
        dict(attributes.get(PARAMS) or trial.params),
        dict(attributes.get(SCORES) or {}) if trial.state is TrialState.COMPLETE else {},
        str(attributes.get(ERROR) or "")
        or ("" if trial.state is TrialState.COMPLETE else "the metric was not a number"),
    )
