"""What people read of what a release brings to devices."""

import json
from dataclasses import replace

import pytest

from model_deployment.devices.manifest import (
    ExampleAnswer,
    NoOnnxForm,
    OnnxForm,
    OnnxInput,
    ReleaseManifest,
)
from model_deployment.rendering.release_content import content_text
from tests.support.manifests import FULL, PLAIN

FORM = OnnxForm((OnnxInput("x", ("a",), "float32"),), ("y",), 0.0)
NO_EXAMPLE = "none: devices try the release without one"


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (PLAIN, ["1 file, 7 B", 'none: why "not"\n', NO_EXAMPLE]),
        (
            FULL,
            [
                "3 files, 1024.0 GB",
                "yes; its answers on the example differ from the model's by 1e-07 at most",
                "devices predict it, and compare with the answer here",
            ],
        ),
        (
            replace(FULL, onnx=FORM, answer=None),
            [
                "3 files, 1024.0 GB",
                "yes; its answers on the example differ from the model's not at all",
                "devices predict it, and compare with nothing",
            ],
        ),
        (
            replace(
                PLAIN, files=PLAIN.files * 2, onnx=NoOnnxForm("x"), answer=ExampleAnswer([], 0)
            ),
            ["2 files, 7 B", "none: x", NO_EXAMPLE],  # devices load the same content once
        ),
    ],
)
def test_the_content_of_a_release_is_told(manifest: ReleaseManifest, expected: list[str]) -> None:
    found = content_text(json.loads(manifest.text()))
    assert found == list(zip(["files", "ONNX form", "example"], expected, strict=True))


def test_a_manifest_of_another_format_is_not_told() -> None:
    assert content_text({"format": 2, "number": 1}) == []
