"""Two manifests: one with all that a manifest can have, one with as little as possible."""

from datetime import UTC, datetime, timedelta

from model_deployment.core.names import ModelKey
from model_deployment.devices.manifest import (
    ExampleAnswer,
    NoOnnxForm,
    OnnxForm,
    OnnxInput,
    ReleaseFile,
    ReleaseManifest,
)

WHEN = datetime(2026, 1, 31, 12, 0, 0, 5000, tzinfo=UTC)
FULL = ReleaseManifest(
    project="hall", number=4, key=ModelKey("rome nets", 3), created=WHEN,
    expires=WHEN + timedelta(days=30),
    files=(
        ReleaseFile("model/MLmodel", 7, "a" * 64),
        ReleaseFile("model/serving_input_example.json", 0, "b" * 64),
        ReleaseFile("onnx/model.onnx", 2**40, "c" * 64),
    ),
    onnx=OnnxForm(
        (OnnxInput("x", ("a b", "ü"), "float64"), OnnxInput("t", None, "string")),
        ("label", "probabilities"), 1e-7,
    ),
    example="model/serving_input_example.json",
    answer=ExampleAnswer([1.5, None, "ä", True, {"k": [1]}], 1e-4),
    reverts=2,
)  # fmt: skip
PLAIN = ReleaseManifest(
    project="p", number=1, key=ModelKey("m", 1), created=WHEN, expires=WHEN,
    files=(ReleaseFile("model/MLmodel", 7, "a" * 64),), onnx=NoOnnxForm('why "not"\n'),
)  # fmt: skip
