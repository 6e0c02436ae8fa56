"""The models of the conformance suite; run with a FOLDER, this saves each in a folder of its name.

It runs in environments of models too: with Python 3.9 and MLflow 2.9.
"""

import inspect
import runpy
import sys
from pathlib import Path
from typing import Any

MODEL_CODE = Path(__file__).with_name("model_code")

#: Columns of the models of those names, and their types.
COLUMNS = {
    "d": "double", "d2": "double", "f": "float", "l": "long", "i": "integer", "b": "boolean",
    "s": "string",
}  # fmt: skip
OPTIONAL = {"od": "double", "os": "string", "at": "datetime"}
NAMES = ("columns", "optional", "tensor", "plain", "odd")


def save_all(root: Path) -> None:
    """Save every model. Call it in a process of its own: it warns as MLflow does."""
    import mlflow
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec

    # As MLflow before 2.10 says it.
    old = "required" not in inspect.signature(ColSpec).parameters
    left_out: dict[str, Any] = {"optional": True} if old else {"required": False}
    params = ParamSchema([ParamSpec("scale", "double", 1.0), ParamSpec("words", "string", "a")])
    flat = Schema([ColSpec(kind, name) for name, kind in COLUMNS.items()])
    optional = Schema(
        [
            ColSpec("double", "x"),
            ColSpec("double", "y"),
            *(ColSpec(kind, name, **left_out) for name, kind in OPTIONAL.items()),
        ]
    )
    tensor = Schema([TensorSpec(np.dtype("float32"), (-1, 2))])
    one = Schema([ColSpec("double", "x")])
    signatures = {
        "columns": ModelSignature(flat, params=params),
        "optional": ModelSignature(optional),
        "tensor": ModelSignature(tensor),
        "plain": None,
        "odd": ModelSignature(one),
    }
    for name in NAMES:
        mlflow.pyfunc.save_model(
            str(root / name),
            python_model=_python_model(MODEL_CODE / ("odd.py" if name == "odd" else "echo.py")),
            signature=signatures[name],
            pip_requirements=[f"mlflow=={mlflow.__version__}"],
        )


def _python_model(code: Path) -> Any:
    """The code; for MLflow before 2.12.2, which saves no code, the object that it makes."""
    import mlflow.models

    if hasattr(mlflow.models, "set_model"):
        return str(code)
    made: list[Any] = []
    mlflow.models.set_model = made.append
    try:
        runpy.run_path(str(code), run_name="saved by value")
    finally:
        del mlflow.models.set_model
    return made[0]


if __name__ == "__main__":
    save_all(Path(sys.argv[1]))
