"""What the command line of the service refuses, in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from model_deployment_flows.__main__ import main


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"MODEL_DEPLOYMENT_DATA_DIR": ""}, "MODEL_DEPLOYMENT_DATA_DIR is not set"),
        ({"MODEL_DEPLOYMENT_PASSWORD_FILE": "/nowhere"}, "'/nowhere'"),
        ({"MODEL_DEPLOYMENT_FLOWS_API_AUTH_FILE": "/nowhere"}, "'/nowhere'"),
        ({"MODEL_DEPLOYMENT_DATA_DIR": "/proc/none"}, "'/proc/none"),
    ],
)
def test_unusable_environment_is_said(
    variables: dict[str, str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    good = {
        "MODEL_DEPLOYMENT_DATA_DIR": str(tmp_path),
        "MODEL_DEPLOYMENT_FLOWS_PROJECT": str(tmp_path),
        "MLFLOW_TRACKING_URI": "sqlite:///none.db",
    }
    for name, value in {**good, **variables}.items():
        monkeypatch.setenv(name, value)
    assert main(["serve"]) == 2
    assert said in capsys.readouterr().err
