"""What the files of a model take in memory while they are loaded."""

import pytest

from model_deployment.core.loading_memory import loading_memory


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("model.pkl", 2), ("data/model.PTH", 2), ("model.onnx", 3), ("model.ubj", 3), ("model.json", 12),
        ("weights.npy", 1), ("weights", 2), ("model.safetensors", 2),
        ("MLmodel", 0), ("input_example.json", 0), ("a/serving_input_example.json", 0),
    ],
)  # fmt: skip
def test_by_format(name: str, factor: int) -> None:
    assert loading_memory([(name, 1000)]) == factor * 1000


def test_files_add_up() -> None:
    assert loading_memory([]) == 0
    assert loading_memory([("a.npy", 5), ("b.pkl", 7)]) == 5 + 14
