"""Trains a small classifier, logs what a good report needs, and registers it as the next version of "iris".

    python examples/train.py

Writes to MLFLOW_TRACKING_URI, or else to the registry in the data directory of a controller started here.
"""

import os
import tempfile
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.models import infer_signature
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

MODEL = "iris"
TARGET = "species"


def flowers() -> pd.DataFrame:
    """150 flowers: four lengths in cm, and the species as text."""
    iris = load_iris(as_frame=True)
    frame = iris.data.rename(columns=lambda name: name.removesuffix(" (cm)").replace(" ", "_"))
    return frame.assign(**{TARGET: iris.target_names[iris.target]})


def split() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows to learn from, and as many that the model never sees."""
    known, unseen = train_test_split(flowers(), test_size=0.5, random_state=0)
    return known, unseen


def use_registry() -> None:
    """Point MLflow at MLFLOW_TRACKING_URI, or at the default registry of a controller."""
    if "MLFLOW_TRACKING_URI" in os.environ:
        mlflow.set_experiment(MODEL)
        return
    folder = Path(os.environ.get("MODEL_DEPLOYMENT_DATA_DIR", "data")).absolute() / "mlflow"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    if mlflow.get_experiment_by_name(MODEL) is None:
        mlflow.create_experiment(MODEL, (folder / "artifacts").as_uri())
    mlflow.set_experiment(MODEL)


def main() -> None:
    use_registry()
    known, unseen = split()
    inputs = known.drop(columns=TARGET)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(inputs, known[TARGET])
    predicted = model.predict(unseen.drop(columns=TARGET))
    with mlflow.start_run(), tempfile.TemporaryDirectory() as folder:
        # The baseline: what later metrics are compared with.
        mlflow.log_metrics(
            {
                "accuracy": accuracy_score(unseen[TARGET], predicted),
                "f1": f1_score(unseen[TARGET], predicted, average="macro"),
            }
        )
        # The reference: what later inputs are compared with. Any table below dataset/ will do.
        reference = Path(folder) / "reference.parquet"
        known.to_parquet(reference, index=False)
        mlflow.log_artifact(str(reference), "dataset")
        logged = mlflow.sklearn.log_model(
            model,
            name=MODEL,
            # The signature: what requests are checked against.
            signature=infer_signature(inputs, predicted),
            # The example: a request that works, shown with the deployment.
            input_example=inputs.head(2).reset_index(drop=True),
            registered_model_name=MODEL,
            # What the model needs. Without them MLflow finds out in another process, which takes seconds.
            pip_requirements=mlflow.sklearn.get_default_pip_requirements(include_skops=True),
        )
    print(f"registered {MODEL} version {logged.registered_model_version}")


if __name__ == "__main__":
    main()
