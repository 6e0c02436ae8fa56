"""Which changes make another model, and so another training."""

from pathlib import Path

import pytest
from harness.tiny_experiment import SETTINGS, settings
from model_deployment_flows.provenance import Recipe, recipe


def _recipe(
    folder: Path, text: str = SETTINGS, code: str = "a = 1", shared: str = "", **changes: object
) -> Recipe:
    (folder / "experiments").mkdir(exist_ok=True)
    (folder / "experiments" / "tiny.py").write_text(code)
    (folder / "shared.py").write_text(shared)
    given = {"data_sha256": "0" * 64, "model_types": ("deep",), "epochs": 20, **changes}
    return recipe(settings(text), folder, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "another"),
    [
        ({}, False),
        ({"text": SETTINGS.replace("threshold: 0.6", "threshold: 0.7")}, False),
        ({"text": SETTINGS.replace("trials: 4", "trials: 9")}, False),
        ({"text": SETTINGS.replace("high: 3", "high: 4")}, True),
        ({"text": SETTINGS.replace("trials: 4", "test_share: 0.3")}, True),
        ({"code": "a = 2"}, True),
        ({"shared": "b = 2"}, True),
        ({"data_sha256": "1" * 64}, True),
        ({"model_types": ("shallow", "deep")}, True),
        ({"epochs": 5}, True),
    ],
)
def test_what_decides_about_the_model_is_in_the_key(
    tmp_path: Path, change: dict[str, object], another: bool
) -> None:
    before, after = _recipe(tmp_path), _recipe(tmp_path, **change)  # type: ignore[arg-type]
    assert (before.study != after.study) is another
    assert (before.training(4, 60) != after.training(4, 60)) is another
    assert before.training(4, 60) != before.training(5, 60)
    assert before.training(4, 60) != before.training(4, 90)
