"""A saved model loads where the project is not."""

import subprocess
import sys
from pathlib import Path

import cloudpickle
import pytest
from harness.tiny_experiment import SETTINGS, settings
from model_deployment_flows.project_class import experiment_class
from model_deployment_flows.sklearn_model import _by_value

_EXPERIMENT = """
import helper
from model_deployment_flows.experiment import Experiment

class Doubler:
    def predict(self, X):
        return helper.double(X)

class Tiny(Experiment):
    model_types = ("shallow", "deep")
"""
_LOAD = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')).predict(21))"


def test_a_helper_module_of_the_project_is_saved_with_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    (project / "trials").mkdir(parents=True)
    (project / "helper.py").write_text("def double(X):\n    return 2 * X\n")
    (project / "trials" / "twice.py").write_text(_EXPERIMENT)
    monkeypatch.setattr(sys, "path", [*sys.path])
    text = SETTINGS.replace("experiments.tiny:Tiny", "trials.twice:Tiny")
    found = experiment_class(settings(text), project)
    model = tmp_path / "model.pkl"
    estimator = sys.modules[found.__module__].Doubler()
    try:
        with _by_value(found.__module__):
            model.write_bytes(cloudpickle.dumps(estimator))
    finally:
        for name in ("helper", "trials", "trials.twice"):
            sys.modules.pop(name)
    served = subprocess.run(
        [sys.executable, "-c", _LOAD, str(model)],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    assert served.stdout.strip() == "42", served.stderr
