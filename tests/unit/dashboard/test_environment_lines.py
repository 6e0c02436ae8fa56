"""The environment of a deployment, in words."""

import pytest

from model_deployment.core.options import EnvManager
from model_deployment.dashboard.environment_lines import of_deployment
from model_deployment.runtime.environment_views import BuildState, EnvironmentView

DIGEST = "3f6d0c1a9b2e4d5c6b7a8f90"


@pytest.mark.parametrize(
    ("view", "shown"),
    [
        (None, ""),
        (
            EnvironmentView(EnvManager.UV, DIGEST, BuildState.READY, "", "3.10.13", "2.9.2"),
            "uv, Python 3.10.13, MLflow 2.9.2, 3f6d0c1a9b2e",
        ),
        (
            EnvironmentView(EnvManager.CONDA, DIGEST, BuildState.READY, "", "3.10.13"),
            "conda, Python 3.10.13, 3f6d0c1a9b2e",
        ),
        (EnvironmentView(EnvManager.UV, "", BuildState.MISSING), "uv, built before the next start"),
        (
            EnvironmentView(EnvManager.UV, DIGEST, BuildState.BUILDING, "installing 41 packages"),
            "uv, 3f6d0c1a9b2e, building: installing 41 packages",
        ),
        (
            EnvironmentView(EnvManager.UV, DIGEST, BuildState.FAILED, "no version fits"),
            "uv, 3f6d0c1a9b2e, no version fits",
        ),
    ],
)
def test_environment_of_a_deployment(view: EnvironmentView | None, shown: str) -> None:
    assert of_deployment(view) == shown
