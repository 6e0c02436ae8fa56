"""An MLflow registry of its own in a database file, where tests log runs and register versions."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd

from model_deployment.core.names import ModelKey
from model_deployment.registry.client import Registry
from model_deployment.registry.mlflow_client import create_database

ROWS = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [1, 2, 1], "y": [0.5, 1.5, 2.5]})
CSV = ROWS.to_csv(index=False).encode()


class RegistryLab:
    """Makes runs and registers versions."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.uri = f"sqlite:///{root / 'mlflow.db'}"
        create_database(self.uri)
        import mlflow

        self.be_the_default()
        self.client = mlflow.MlflowClient(self.uri, self.uri)
        self.experiment = self.client.create_experiment(
            "lab", artifact_location=(root / "artifacts").as_uri()
        )
        self._made = 0

    def be_the_default(self) -> None:
        """For MLflow's own functions; other tests of this process have theirs."""
        import mlflow

        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)

    def run(self) -> str:
        return str(self.client.create_run(self.experiment).info.run_id)

    def artifact(self, run: str, name: str, content: bytes, folder: str = "dataset") -> Path:
        path = self.root / name
        path.write_bytes(content)
        self.client.log_artifact(run, str(path), folder)
        uri: str = self.client.get_run(run).info.artifact_uri
        return Path(uri.removeprefix("file://")) / folder / name

    def log(self, run: str, source: Any, context: str = "training", kind: str = "local") -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        text = source if isinstance(source, str) else json.dumps(source)
        self.client.log_inputs(
            run,
            [
                DatasetInput(
                    Dataset(f"set{self._made}", f"digest-{text[:20]}", kind, text),
                    [InputTag("mlflow.data.context", context)],
                )
            ],
        )

    def register(self, run: str | None, source: str = "/nowhere") -> ModelKey:
        self._made += 1
        name = f"model{self._made}"
        self.client.create_registered_model(name)
        self.client.create_model_version(name, source, run)
        return ModelKey(name, 1)

    def logged(self, source: Any, **more: str) -> ModelKey:
        run = self.run()
        self.log(run, source, **more)
        return self.register(run)

    def registry(self) -> Registry:
        return Registry(
            tracking_uri=self.uri, registry_uri=self.uri, timeout=60, download_timeout=60
        )


def train(lab: RegistryLab) -> ModelKey:
    """Train, log and register a model with the inputs ``a`` and ``b``, and its training data."""
    import mlflow
    from mlflow.models import infer_signature
    from sklearn.linear_model import LinearRegression

    inputs = ROWS[["a", "b"]].astype(float)
    lab.be_the_default()
    with mlflow.start_run(experiment_id=lab.experiment) as run:
        mlflow.log_metrics({"rmse": 1.5, "odd": math.nan, "endless": math.inf})
        mlflow.sklearn.log_model(
            LinearRegression().fit(inputs, ROWS["y"]),
            name="model",
            signature=infer_signature(inputs, ROWS["y"]),
            pip_requirements=[],
            registered_model_name="trained",
        )
    lab.artifact(run.info.run_id, "notes.txt", b"x")
    lab.artifact(run.info.run_id, "b.csv", b"other\n1\n")
    path = lab.root / "a.parquet"
    ROWS.to_parquet(path)
    lab.client.log_artifact(run.info.run_id, str(path), "dataset")
    return ModelKey("trained", 1)
