"""Trains a model of the corpus, registers it, and writes down what MLflow answers to its example.

``python -m tests.flavors.register NAME FOLDER``

In a process of its own for each model: libraries like TensorFlow and Spark do not share one well.
"""

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import psutil

from tests.flavors import reference
from tests.flavors.corpus import FLAVORS


def tracking_uri(folder: Path) -> str:
    """Of the registry in a folder."""
    return f"sqlite:///{folder / 'mlflow.db'}"


def register(name: str, folder: Path) -> None:
    """Register a model with a signature, and where its flavor allows it one without.

    What MLflow answers is in ``<folder>/<registered name>.json`` afterwards.
    """
    import mlflow

    mlflow.set_tracking_uri(tracking_uri(folder))
    if mlflow.get_experiment_by_name("flavors") is None:
        mlflow.create_experiment("flavors", (folder / "artifacts").as_uri())
    mlflow.set_experiment("flavors")
    flavor = FLAVORS[name]
    made = flavor.make()
    params = dict(made.params)
    given: dict[str, Any] = {
        "input_example": (made.example, params) if params else made.example,
        # Given: finding them out takes MLflow another process and ten seconds.
        "pip_requirements": flavor.requirements,
    }
    client = mlflow.MlflowClient()
    for model in flavor.models:
        # What an attempt before left in a folder that is kept.
        with contextlib.suppress(mlflow.MlflowException):
            client.delete_registered_model(model)
        signature = made.signature if model == name else False
        with mlflow.start_run():
            made.log(name=name, registered_model_name=model, signature=signature, **given)
        told = reference.of(f"models:/{model}/1", made.example, params, folder / f"{model}-files")
        (folder / f"{model}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    # What is made here has no card in a hub.
    os.environ["HF_HUB_OFFLINE"] = "1"
    register(sys.argv[1], Path(sys.argv[2]))
    sys.stdout.flush()
    # Threads of some libraries outlive their use, and so do programs of others.
    for one in psutil.Process().children(recursive=True):
        one.kill()
    os._exit(0)
