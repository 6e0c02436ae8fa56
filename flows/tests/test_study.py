"""The study goes on where a killed run left it, and survives trials that fail."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from harness.tiny_experiment import Tiny, settings, table
from model_deployment_flows.experiment import Split
from model_deployment_flows.study import NoTrial, StudyResult, search

_KILLED = """
import sys, time
from pathlib import Path
from harness.tiny_experiment import Tiny, settings, table
from model_deployment_flows.study import search

class Hangs(Tiny):
    calls = 0
    def validate(self, params, X, y):
        Hangs.calls += 1
        if Hangs.calls == 3:
            print("third", flush=True)
            time.sleep(600)
        return super().validate(params, X, y)

tiny = Hangs(settings())
split = tiny.split(*tiny.prepare(table()))
types = ("shallow", "deep")
file = Path(sys.argv[1])
search(tiny, split.X_train, split.y_train, file=file, model_types=types, trials=6, timeout=600)
"""


def _search(tiny: Tiny, file: Path, trials: int, timeout: float = 60) -> StudyResult:
    split: Split = tiny.split(*tiny.prepare(table()))
    return search(
        tiny,
        split.X_train,
        split.y_train,
        file=file,
        model_types=("shallow", "deep"),
        trials=trials,
        timeout=timeout,
    )


def test_a_killed_study_goes_on_and_runs_only_what_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "studies" / "study.db"
    file.parent.mkdir()
    draft = file.with_name(".earlier.db-0123abcd")
    draft.touch()
    with subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(file)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parent,
    ) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == b"third\n"
        killed.kill()
    assert not draft.exists()
    before = _trials(file)
    assert [one.state.name for one in before] == ["COMPLETE", "COMPLETE", "RUNNING"]
    found = _search(Tiny(settings()), file, trials=6)
    assert len(found.trials) == 6
    assert [one.number for one in found.trials] == [0, 1, 3, 4, 5, 6]
    after = _trials(file)
    assert after[2].state.name == "FAIL"
    assert after[3].params == before[2].params
    # Another run finds all, and runs nothing.
    assert _search(_Fails(settings()), file, trials=6) == found


def _trials(file: Path) -> list[Any]:
    found: list[Any] = optuna.load_study(study_name="tiny", storage=f"sqlite:///{file}").trials
    return found


class _Fails(Tiny):
    def validate(self, params: Mapping[str, Any], X: Any, y: Any) -> dict[str, float]:
        if params["model_type"] == "deep":
            raise MemoryError("too deep")
        return super().validate(params, X, y)


def test_a_failed_trial_counts_and_is_not_chosen(tmp_path: Path) -> None:
    found = _search(_Fails(settings()), tmp_path / "study.db", trials=8)
    errors = {one.params["model_type"]: one.error for one in found.trials}
    assert errors == {"shallow": "", "deep": "MemoryError: too deep"}
    assert found.best.params["model_type"] == "shallow"


class _Useless(Tiny):
    def score(self, truth: Any, predicted: Any) -> dict[str, float]:
        return {"accuracy_score": 1.0}


def test_a_study_without_a_result_says_why(tmp_path: Path) -> None:
    with pytest.raises(NoTrial, match="gives no 'f1_score', which the settings name"):
        _search(_Useless(settings()), tmp_path / "study.db", trials=2)


class _NoSpace(Tiny):
    def space(self, trial: Any) -> Any:
        return None


def test_a_study_says_what_is_wrong_with_the_space(tmp_path: Path) -> None:
    with pytest.raises(NoTrial, match="TypeError: 'NoneType' object is not a mapping"):
        _search(_NoSpace(settings()), tmp_path / "study.db", trials=1)


class _NumpySpace(Tiny):
    def space(self, trial: Any) -> Any:
        return {"max_depth": np.int64(3), "ccp_alpha": np.float64(0.5)}


def test_parameters_of_numpy_are_kept(tmp_path: Path) -> None:
    found = _search(_NumpySpace(settings()), tmp_path / "study.db", trials=1)
    assert found.best.params == {"max_depth": 3, "ccp_alpha": 0.5, "model_type": "shallow"}


def test_a_study_is_deterministic(tmp_path: Path) -> None:
    one, other = (_search(Tiny(settings()), tmp_path / f"{n}.db", trials=4) for n in "ab")
    assert [trial.params for trial in one.trials] == [trial.params for trial in other.trials]
    assert one.best.scores == other.best.scores


class _SpaceWithAnError(Tiny):
    def space(self, trial: Any) -> dict[str, Any]:
        raise KeyError("max_depth")


def test_an_error_of_the_search_space_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoTrial, match="the first one: KeyError: 'max_depth'"):
        _search(_SpaceWithAnError(settings()), tmp_path / "study.db", trials=2)


class _Killed(BaseException):
    """Leaves a trial as a killed run does."""


class _EndsTheRun(Tiny):
    def validate(self, params: Mapping[str, Any], X: Any, y: Any) -> dict[str, float]:
        if params["model_type"] == "deep":
            raise _Killed
        return super().validate(params, X, y)


def test_parameters_that_end_each_run_are_given_up(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    for _ in range(3):
        with pytest.raises(_Killed):
            _search(_EndsTheRun(settings()), file, trials=2)
    found = _search(_EndsTheRun(settings()), file, trials=2)
    assert [one.error for one in found.trials] == ["", "the run ended 3 times during it"]
