"""New versions prove themselves: run it, and watch the alias "champion" move four times.

    python examples/rollout.py [COMPARISON.html]

Callers ask for predictions at ``/diabetes@champion`` all the time, and tell the truth about them later. A
better model is promoted; one that was trained on shuffled targets is stopped when captured requests are
replayed; one that is right but slow is stopped at its share of live requests. No caller notices any of it.
Everything happens in a temporary folder, on free ports of this machine.
"""

import itertools
import logging
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import mlflow
import pandas as pd
from drift import checked, controller
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

#: Labels that a caller sends together.
TOLD_TOGETHER = 20
#: Answers that a version gives before the next one comes.
ANSWERS = 150
#: Seconds between two requests of a caller.
PAUSE = 0.05
#: Short, so that the example is: real ones take minutes.
POLICY = {
    "checks": {"replay": 60},
    "canary": {"steps": [25, 50], "minutes": 0.05, "requests": 40},
}
#: Seconds that the slow version takes longer; far above what a busy machine makes of the others.
SLOWNESS = 0.12


class Slow(mlflow.pyfunc.PythonModel):
    """Predicts what another model predicts, a moment later."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> Any:
        time.sleep(SLOWNESS)
        return self.model.predict(model_input)


def patients() -> tuple[pd.DataFrame, pd.Series]:
    from sklearn.datasets import load_diabetes

    frame = load_diabetes(as_frame=True, scaled=False).frame.sample(frac=1, random_state=0)
    return frame.drop(columns="target"), frame["target"]


def register(model: Any) -> int:
    """Log and register a version; its number."""
    inputs, target = patients()
    common = {
        "name": "model",
        "signature": mlflow.models.infer_signature(inputs, target.astype(float)),
        "input_example": inputs.head(3),
        "registered_model_name": "diabetes",
        # Given: inferring them takes MLflow another process and seconds.
        "pip_requirements": mlflow.sklearn.get_default_pip_requirements(include_cloudpickle=True),
    }
    with mlflow.start_run():
        if isinstance(model, Slow):
            logged = mlflow.pyfunc.log_model(python_model=model, **common)
        else:
            logged = mlflow.sklearn.log_model(model, serialization_format="cloudpickle", **common)
    return int(logged.registered_model_version)


def move_alias(version: int) -> None:
    """What a person, or a training pipeline, does when a version is to serve."""
    mlflow.MlflowClient().set_registered_model_alias("diabetes", "champion", str(version))


class Callers:
    """Ask all the time, tell the truth later, and count which version answers."""

    def __init__(self, url: str) -> None:
        self.versions: Counter[str] = Counter()
        self.failed = 0
        self._url = url
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(3)]

    @contextmanager
    def at_work(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._end.set()
            for thread in self._threads:
                thread.join()

    def wait_for(self, more: int) -> None:
        """Until so many more answers have come."""
        end = time.monotonic() + 120
        wanted = self.versions.total() + more
        while self.versions.total() < wanted:
            if time.monotonic() > end:
                raise TimeoutError("callers get no answers")
            time.sleep(0.1)

    def _ask(self, number: int) -> None:
        inputs, target = patients()
        asked = [*zip(inputs.to_dict("records"), target, strict=True)]
        random.Random(number).shuffle(asked)
        told: list[dict[str, Any]] = []
        with httpx.Client(base_url=self._url, timeout=30) as client:
            for record, label in itertools.cycle(asked):
                if self._end.wait(PAUSE):
                    return
                answer = client.post("/diabetes@champion", json=record)
                self.versions[answer.headers.get("X-Model-Version", "none")] += 1
                self.failed += not answer.is_success
                told.append({"request_id": answer.headers["X-Request-Id"], "label": label})
                if len(told) == TOLD_TOGETHER:
                    client.post("/model/diabetes@champion/feedback", json={"items": told})
                    told.clear()


def roll_out(client: httpx.Client, callers: Callers, what: str, model: Any) -> str:
    """Register a version, move the alias to it, and tell what becomes of it."""
    callers.wait_for(ANSWERS)
    version = register(model)
    print(f"\nVersion {version}, {what}: the alias moves.", flush=True)
    move_alias(version)
    end, shown = time.monotonic() + 120, ""
    while time.monotonic() < end:
        rollout = checked(client.get("/endpoints/diabetes@champion"))["rollout"] or {}
        if rollout.get("candidate") == version:
            if (state := rollout["state"]) != shown:
                shown = state
                print(f"  {state}: {rollout['reason']}", flush=True)
            if rollout["ended_at"] is not None:
                return shown
        time.sleep(0.1)
    raise TimeoutError(f"version {version} is still {shown or 'unknown'}")


def main() -> None:
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    page = Path(sys.argv[1] if len(sys.argv) > 1 else "rollout-comparison.html").absolute()
    inputs, target = patients()
    unknown = dict.fromkeys(inputs.columns.drop(["age", "sex", "bp"]), 0)
    plain = make_pipeline(StandardScaler(), Ridge()).fit(inputs.assign(**unknown), target)
    better = make_pipeline(StandardScaler(), Ridge()).fit(inputs, target)
    broken = RandomForestRegressor(20, random_state=0).fit(
        inputs, target.sample(frac=1, random_state=1).to_numpy()
    )
    with tempfile.TemporaryDirectory(prefix="rollout-") as name:
        folder = Path(name)
        registry = f"sqlite:///{folder / 'mlflow.db'}"
        mlflow.set_tracking_uri(registry)
        mlflow.set_experiment(
            experiment_id=mlflow.create_experiment("rollout", (folder / "artifacts").as_uri())
        )
        move_alias(register(plain))
        with controller(folder, registry, ports=8) as client:
            print("Version 1 serves at /diabetes@champion ...", flush=True)
            client.put("/endpoints/diabetes@champion", json=POLICY).raise_for_status()
            wait = {"wait": "120"}
            answer = client.post(
                "/set_model", json={"model": "diabetes", "alias": "champion"}, params=wait
            )
            answer.raise_for_status()
            callers = Callers(str(client.base_url))
            with callers.at_work():
                states = [
                    roll_out(client, callers, "which knows seven more measurements", better),
                    roll_out(client, callers, "trained on shuffled targets", broken),
                    roll_out(client, callers, "right, but slow", Slow(better)),
                ]
            compared = client.get(
                "/endpoints/diabetes@champion/comparison", params={"format": "html"}
            )
            page.write_text(compared.raise_for_status().text, encoding="utf-8")
    print(f"\n{states[0]}, {states[1]}, {states[2]}.")
    print(
        f"Answers by version: {dict(sorted(callers.versions.items()))}; failed: {callers.failed}."
    )
    print(f"The comparison of the last one: {page}")


if __name__ == "__main__":
    main()
