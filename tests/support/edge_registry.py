"""A registry of real ONNX models for devices: ``python -m tests.support.edge_registry URI FOLDER``.

======= ========================================================================================
version the model ``wear``
======= ========================================================================================
1       ``1·a + b``
2       ``2·a + b``, with a file of :data:`PAD` bytes beside it
3       answers on a machine, and takes more memory than a device gives a model
4       ``4·a + b``, with the same file
======= ========================================================================================
"""

import random
import subprocess
import sys
import warnings
from pathlib import Path

from tests.support.edge_models import COLUMNS, greedy, linear
from tests.support.harness import ROOT

MODEL, ALIAS = "wear", "champion"
ENDPOINT = f"{MODEL}@{ALIAS}"
#: Bytes of the large file, which does not compress; mebibytes that version 3 takes to predict.
PAD = 3 * 1024 * 1024
GREED = 320


def predicted(version: int, a: float, b: float) -> float:
    """What versions 1, 2 and 4 answer."""
    return version * a + b


def make_registry(folder: Path) -> str:
    """Make it in a process of its own, which MLflow's import keeps apart; its tracking URI."""
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.edge_registry", uri, str(folder / "models")],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"cannot make the registry:\n{done.stdout}{done.stderr}"
    return uri


def promote(uri: str, version: int) -> None:
    """Move the alias, as a person or a training job does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow import MlflowClient

        MlflowClient(uri, uri).set_registered_model_alias(MODEL, ALIAS, str(version))


def _register(uri: str, folder: Path) -> None:
    import mlflow.onnx
    import onnx
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.models import infer_signature

    example = pd.DataFrame([[1.0, 2.0]], columns=list(COLUMNS), dtype="float32")
    client = MlflowClient(uri, uri)
    client.create_registered_model(MODEL)
    pad = random.Random(0).randbytes(PAD)
    for version in (1, 2, 3, 4):
        made = greedy(GREED) if version == 3 else linear((float(version), 1.0), 0.0)
        place = folder / str(version)
        mlflow.onnx.save_model(
            onnx.load_from_string(made), place, input_example=example, pip_requirements=["mlflow"],
            signature=infer_signature(example, pd.DataFrame({"y": [0.0]}, dtype="float32")),
            save_as_external_data=False,
        )  # fmt: skip
        if version in (2, 4):
            (place / "pad.bin").write_bytes(pad)
        client.create_model_version(MODEL, place.as_uri(), None)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    _register(sys.argv[1], Path(sys.argv[2]))
    promote(sys.argv[1], 1)
