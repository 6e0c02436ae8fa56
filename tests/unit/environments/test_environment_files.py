"""How the lines of a file of requirements are joined: as by pip."""

import pytest

from model_deployment.environments.environment_files import requirement_lines


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("scikit-learn==1.\\\n5.0\n", ["scikit-learn==1.5.0"]),
        ("scikit-learn==1.\\\r\n5.0\r\n", ["scikit-learn==1.5.0"]),
        (
            "numpy \\\n    --hash=sha256:0 \\\n    --hash=sha256:1\n",
            ["numpy     --hash=sha256:0     --hash=sha256:1"],
        ),
        ("numpy\\\n==1\\\n.2", ["numpy==1.2"]),
        ("numpy==1\\\n# why\\\nsix\n", ["numpy==1", "six"]),
        ("numpy==1\\\n  # why\nsix\n", ["numpy==1", "six"]),
        ("numpy # why \\\nsix\n", ["numpy"]),
        ("# C:\\models\\\nnumpy\n", ["numpy"]),
        ("numpy==1 \\ \nsix\n", ["numpy==1 \\", "six"]),
        ("numpy\\\n\nsix\n", ["numpy", "six"]),
        ("numpy#1\\\\\n2\nsix\\", ["numpy#12", "six"]),
        ("\\\n\\\n", []),
    ],
)
def test_lines_are_joined_as_by_pip(text: str, lines: list[str]) -> None:
    assert requirement_lines(text) == lines
