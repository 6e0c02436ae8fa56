"""Which parent the models of an environment have."""

from dataclasses import replace
from pathlib import Path

import pytest

from model_deployment.environments.environment import Environment
from model_deployment.runtime.parent_process import ParentProcess, parent_of
from model_deployment.settings.types import COMMON_MODULES


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    folder = tmp_path / "abc"
    folder.mkdir()
    return Environment("abc", folder, "3.11.7", "2.9.2", ("sklearn", "xgboost"))


def parent(environment: Environment, **variables: str) -> ParentProcess:
    root = environment.folder.parent
    return parent_of(
        environment, root / "worker", root / "log", root / "programs", variables, COMMON_MODULES
    )


def test_environment_runs_copies_with_its_own_python(environment: Environment) -> None:
    found = parent(environment)
    assert found.python == str(environment.folder / "bin" / "python")
    assert found.programs == environment.folder.parent / "programs"


def test_parent_of_another_environment_build_or_modules_is_another_one(
    environment: Environment,
) -> None:
    first = parent(environment)
    other = replace(environment, digest="abd")
    modules = replace(environment, modules=("sklearn",))
    names = {first.name, parent(other).name, parent(modules).name}
    environment.folder.rename(environment.folder.with_name("old"))
    environment.folder.mkdir()
    names.add(parent(environment).name)
    assert len(names) == 4
    assert first.name == replace(first).name


def test_modules_are_those_of_the_packages_that_models_require(environment: Environment) -> None:
    found = parent(environment).preload
    assert "mlflow.pyfunc.scoring_server" in found
    assert {"sklearn.ensemble", "mlflow.sklearn", "xgboost", "mlflow.xgboost"} <= {*found}
    assert len({*found}) == len(found)
    plain = parent(replace(environment, modules=())).preload
    assert not [name for name in plain if "sklearn" in name or "skops" in name]


def test_no_variable_leads_to_modules_of_another_python(environment: Environment) -> None:
    found = parent(environment, PATH="/bin", PYTHONPATH="/x", PYTHONHOME="/y").environment
    assert found == {"PATH": "/bin"}
