"""Real MLflow models that are hard to serve well.

Run as a program, ``difficult_models.py TRACKING_URI ARTIFACT_ROOT``, it registers them.
"""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

MODEL_CODE = Path(__file__).with_name("model_code")
#: By name, rows of the input example; the name is that of the script, too.
EXAMPLES = {
    "moody": {"mood": ["fine", "fine"], "marker": [1, 2]},
    "ranking": {"value": [0.5, 0.25, 4.0]},
    "hoarder": {"value": [1.0]},
    "borrower": {"value": [1.0]},
    "loner": {"value": [1.0]},
}


def register_all(tracking_uri: str, artifact_root: Path) -> None:
    """Register them in a fresh registry."""
    import mlflow
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.models import infer_signature

    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_registry_uri(tracking_uri)
    client = MlflowClient(tracking_uri, tracking_uri)
    experiment_id = client.create_experiment("difficult", artifact_root.absolute().as_uri())
    database = artifact_root.parent / "seen.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE seen (value)")
    for name, columns in EXAMPLES.items():
        example = pd.DataFrame(columns)
        with mlflow.start_run(experiment_id=experiment_id):
            mlflow.pyfunc.log_model(
                name=name,
                python_model=str(MODEL_CODE / f"{name}.py"),
                signature=infer_signature(example, [1.0]),
                # MLflow tries a model with its example, and those after these want more than that.
                input_example=example if name in ("moody", "ranking") else None,
                artifacts={"seen": str(database)} if name == "hoarder" else None,
                pip_requirements=[f"mlflow=={mlflow.__version__}", f"pandas=={pd.__version__}"],
                registered_model_name=name,
            )


if __name__ == "__main__":
    register_all(sys.argv[1], Path(sys.argv[2]))
