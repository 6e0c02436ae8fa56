"""Real drift, from training to the report: run it, and open the page it writes.

    python examples/drift.py [REPORT.html]

A regressor is trained on the leaner part of scikit-learn's diabetes patients. In service it meets the
heavier part, whose disease progresses otherwise; the truth about them is told later. Nothing is made up
but the division. Everything happens in a temporary folder, on free ports of this machine.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pandas as pd

#: Share of the patients, the leaner ones, that the model is trained on.
LEAN = 0.6
#: Requests that are sent, each with one patient drawn from the heavier ones.
REQUESTS = 400


def patients() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Leaner and heavier patients, with their progression in the column ``target``."""
    from sklearn.datasets import load_diabetes

    frame = load_diabetes(as_frame=True, scaled=False).frame.sort_values("bmi", ignore_index=True)
    lean = int(LEAN * len(frame))
    return frame[:lean], frame[lean:]


def train(lean: pd.DataFrame, folder: Path) -> str:
    """Train, log and register; the address of the registry."""
    import mlflow
    from mlflow.models import infer_signature
    from sklearn.linear_model import Ridge
    from sklearn.metrics import root_mean_squared_error
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    uri = f"sqlite:///{folder / 'mlflow.db'}"
    mlflow.set_tracking_uri(uri)
    experiment = mlflow.create_experiment("drift", (folder / "artifacts").as_uri())
    known, unseen = train_test_split(lean, random_state=0)
    inputs = known.drop(columns="target")
    model = make_pipeline(StandardScaler(), Ridge()).fit(inputs, known["target"])
    predicted = model.predict(unseen.drop(columns="target"))
    with mlflow.start_run(experiment_id=experiment):
        mlflow.log_metric("test_rmse", root_mean_squared_error(unseen["target"], predicted))
        # What a report compares with: a table in the run's folder "dataset".
        reference = folder / "reference.parquet"
        known.to_parquet(reference)
        mlflow.log_artifact(str(reference), "dataset")
        mlflow.sklearn.log_model(
            model,
            name="model",
            signature=infer_signature(inputs, predicted),
            input_example=inputs.head(3),
            registered_model_name="diabetes",
            serialization_format="cloudpickle",
            # Given: inferring them takes MLflow another process and seconds.
            pip_requirements=mlflow.sklearn.get_default_pip_requirements(include_cloudpickle=True),
        )
    return uri


@contextmanager
def controller(
    folder: Path, registry: str, ports: int = 1, **settings: str
) -> Iterator[httpx.Client]:
    """A controller of its own, and a client of it; ``settings`` are further ones, by their names."""
    port = free_port()
    first = free_port()
    environment = os.environ | {
        "MODEL_DEPLOYMENT_DATA_DIR": str(folder / "data"),
        "MODEL_DEPLOYMENT_PORT": str(port),
        "MODEL_DEPLOYMENT_PORTS": f"{first}-{first + ports - 1}",
        "MLFLOW_TRACKING_URI": registry,
        "MODEL_DEPLOYMENT_REGISTRY_TIMEOUT": "60s",  # this machine may have other work
        **{f"MODEL_DEPLOYMENT_{name}": value for name, value in settings.items()},
    }
    command = [sys.executable, "-m", "model_deployment", "serve"]
    with (
        (folder / "controller.log").open("wb") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=180) as client,
    ):
        try:
            wait_for(client)
            yield client
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def wait_for(client: httpx.Client) -> None:
    """Until it answers."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            if client.get("/ready").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise TimeoutError("the controller did not start")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve(client: httpx.Client, heavy: pd.DataFrame) -> None:
    """Ask for predictions, and tell the truth about them afterwards."""
    asked = heavy.sample(REQUESTS, replace=True, random_state=0)
    told = []
    for record in asked.to_dict("records"):
        label = record.pop("target")
        request_id = uuid.uuid4().hex
        answer = client.post("/diabetes-1", json=record, headers={"X-Request-Id": request_id})
        answer.raise_for_status()
        told.append({"request_id": request_id, "label": label})
    # They are captured a moment later; truth about a request that is not known yet is kept for it.
    answer = client.post("/model/diabetes-1/feedback", json={"items": told})
    answer.raise_for_status()


def report(client: httpx.Client, page: Path) -> dict[str, Any]:
    """Have a report made, and keep its page."""
    made: dict[str, Any] = checked(client.get("/model/diabetes-1/degradation_report?format=json"))
    html = client.get(f"/model/diabetes-1/degradation_report?id={made['id']}")
    page.write_text(html.raise_for_status().text, encoding="utf-8")
    return made


def checked(answer: httpx.Response) -> Any:
    return json.loads(answer.raise_for_status().text)


def wait_until_captured(client: httpx.Client) -> None:
    end = time.monotonic() + 30
    while checked(client.get("/ready"))["captures"]["written"] < REQUESTS:
        if time.monotonic() > end:
            raise TimeoutError("the captures did not reach the document store")
        time.sleep(0.2)


def main() -> None:
    page = Path(sys.argv[1] if len(sys.argv) > 1 else "drift-report.html")
    lean, heavy = patients()
    with tempfile.TemporaryDirectory(prefix="drift-") as name:
        folder = Path(name)
        print(f"Training on the {len(lean)} leaner patients ...", flush=True)
        registry = train(lean, folder)
        with controller(folder, registry) as client:
            print("Deploying ...", flush=True)
            client.post("/deploy/diabetes/1?wait=120").raise_for_status()
            print(f"Asking about {REQUESTS} of the {len(heavy)} heavier ones ...", flush=True)
            serve(client, heavy)
            wait_until_captured(client)
            print("Making the report ...", flush=True)
            made = report(client, page)
    print(f"\nVerdict: {made['verdict']}")
    for reason in made["report"]["reasons"][:3]:
        print(f"- {reason['message']} {reason['advice']}")
    print(f"\nThe report: {page.absolute()}")


if __name__ == "__main__":
    main()
