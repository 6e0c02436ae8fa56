"""What the client of an earlier release of MLflow logs."""

import os
import subprocess
from pathlib import Path

#: Run by MLflow's own client: two versions of a model with all that a training logs, and one with little.
_LOG = """
import sys, mlflow, numpy as np, pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression

address, folder = sys.argv[1:]
mlflow.set_tracking_uri(address)
mlflow.set_experiment("trained")
client = mlflow.MlflowClient()
rows = pd.DataFrame({"a": np.arange(200.0), "b": np.arange(200.0) % 7})
rows["y"] = 2 * rows["a"] + rows["b"]
rows.to_csv(folder + "/train.csv", index=False)
rows.to_parquet(folder + "/train.parquet", index=False)
inputs = rows[["a", "b"]]
model = LinearRegression().fit(inputs, rows["y"])

def log(name, as_artifact):
    with mlflow.start_run() as run:
        source = mlflow.data.from_pandas(rows, source=folder + "/train.csv", targets="y", name="train")
        mlflow.log_input(source, context="training")
        if as_artifact:
            mlflow.log_artifact(folder + "/train.parquet", "dataset")
        mlflow.log_metric("root_mean_squared_error", 0.25)
        mlflow.log_param("alpha", 1.5)
        mlflow.sklearn.log_model(
            model, artifact_path="model", pip_requirements=["scikit-learn"],
            signature=infer_signature(inputs, model.predict(inputs)), input_example=inputs.head(2),
        )
    return mlflow.register_model(f"runs:/{run.info.run_id}/model", name).version

first = log("regression", True)
log("regression", False)
client.set_registered_model_alias("regression", "champion", first)
client.set_model_version_tag("regression", first, "data_sha256", "ab" * 32)
"""


def log_models(python: Path, address: str, folder: Path) -> None:
    """Log and register models with the client of the older release; their data lie in ``folder``."""
    folder.mkdir()
    done = subprocess.run(
        [str(python), "-c", _LOG, address, str(folder)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=300,
        env={**os.environ, "PYTHONWARNINGS": "ignore", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "0"},
        check=False,
    )
    assert done.returncode == 0, f"cannot log the models:\n{done.stdout}{done.stderr}"
