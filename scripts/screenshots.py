"""Takes the pictures of the dashboard in docs/images: real models and traffic (make screenshots).

Everything happens in a temporary folder, on free ports of this machine; the models are those of
examples/drift.py, and one that knows all patients, which is on its way to the endpoint diabetes@champion
while the pictures are taken.
"""

import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "examples"))

import drift  # noqa: E402

IMAGES = ROOT / "docs" / "images"
#: Bytes of a picture at most.
MOST = 150_000
#: Seconds of requests before the alias moves.
TRAFFIC = 75
SCHEMES = ("light", "dark")
ENDPOINT = "diabetes@champion"
#: Until the second share of requests; then the pictures are taken in peace.
POLICY = {
    "checks": {"replay": 200},
    "canary": {"steps": [10, 25, 50], "minutes": 0.2, "requests": 10},
}
#: Name, path, what is pressed first, and what is looked at; after ">" comes what the picture ends below.
PICTURES = (
    ("overview", "/", "", "body"),
    ("registry", "/dashboard/registry/diabetes", "[data-deploy]", "body"),
    ("deployment", "/dashboard/deployments/diabetes-1", "", "body"),
    ("inputs", "/dashboard/deployments/diabetes-1?tab=inputs", "", "#inputs"),
    ("quality", "/dashboard/deployments/diabetes-1?tab=quality", "", "#metrics"),
    ("compare", "/dashboard/compare/diabetes?versions=1,2", "", "body"),
    ("endpoint", f"/dashboard/endpoints/{ENDPOINT}", "", ">#guards"),
    ("comparison", f"/endpoints/{ENDPOINT}/comparison?format=html", "", ">body"),
)


@contextmanager
def controller(folder: Path, registry: str) -> Iterator[httpx.Client]:
    """With ports for a few models."""
    port, first = drift.free_port(), 23_700
    environment = os.environ | {
        "MODEL_DEPLOYMENT_DATA_DIR": str(folder / "data"),
        "MODEL_DEPLOYMENT_PORT": str(port),
        "MODEL_DEPLOYMENT_PORTS": f"{first}-{first + 7}",
        "MODEL_DEPLOYMENT_TRIES": "1",
        "MLFLOW_TRACKING_URI": registry,
        "MODEL_DEPLOYMENT_REGISTRY_TIMEOUT": "60s",  # this machine may have other work
    }
    command = [sys.executable, "-m", "model_deployment", "serve"]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=180) as client,
    ):
        try:
            drift.wait_for(client)
            yield client
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def register_more(registry: str) -> None:
    """A version that learned from all patients, another model of the same kind, and one that is broken."""
    from mlflow import MlflowClient

    client = MlflowClient(registry)
    one = client.get_model_version("diabetes", "1")
    _register_second()
    client.set_registered_model_alias("diabetes", "champion", "1")
    client.set_registered_model_alias("diabetes", "challenger", "2")
    client.update_registered_model("diabetes", "Progression one year after the examination.")
    client.create_registered_model("readmission", description="Days until a patient comes back.")
    client.create_model_version("readmission", one.source, one.run_id)
    client.create_registered_model("triage", description="Which patients are seen first.")
    client.create_model_version("triage", "file:///nowhere/triage", one.run_id)
    client.create_model_version("diabetes", one.source, one.run_id)


def _register_second() -> None:
    import mlflow
    import pandas as pd
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    known = pd.concat(drift.patients()).sample(frac=0.75, random_state=0)
    inputs = known.drop(columns="target")
    model = make_pipeline(StandardScaler(), Ridge()).fit(inputs, known["target"])
    with mlflow.start_run(experiment_id=mlflow.get_experiment_by_name("drift").experiment_id):
        mlflow.sklearn.log_model(
            model,
            name="model",
            signature=mlflow.models.infer_signature(inputs, model.predict(inputs)),
            input_example=inputs.head(3),
            registered_model_name="diabetes",
            serialization_format="cloudpickle",
        )


def fill(client: httpx.Client) -> None:
    """Deploy, and have a report made."""
    for key in ("diabetes/1", "readmission/1"):
        drift.checked(client.post(f"/deploy/{key}?wait=150"))
    client.post("/deploy/triage/1?wait=30")
    client.put(f"/endpoints/{ENDPOINT}", json=POLICY).raise_for_status()
    _, heavy = drift.patients()
    drift.serve(client, heavy)
    for rmse in (53.1, 55.9, 61.2):
        metrics = {"metrics": {"rmse": rmse}, "n": 200}
        client.post("/model/diabetes-1/set_new_metrics", json=metrics).raise_for_status()
    drift.wait_until_captured(client)
    drift.report(client, Path(os.devnull))


@contextmanager
def traffic(url: str) -> Iterator[None]:
    """Callers ask, more and less busily, and tell the truth about some answers later."""
    over = threading.Event()

    def ask() -> None:
        _, heavy = drift.patients()
        told: list[dict[str, Any]] = []
        asked = 0
        with httpx.Client(base_url=url, timeout=30) as client:
            while not over.wait(0.02 + 0.08 * (int(time.monotonic()) % 20 < 8)):
                asked += 1
                record = heavy.sample(1).to_dict("records")[0]
                label = record.pop("target")
                if asked % 40 == 0:
                    record["age"] = "unknown"
                name = ENDPOINT if asked % 5 else "readmission-1"
                answer = client.post(f"/{name}", json=record)
                if name == ENDPOINT and answer.is_success:
                    told.append({"request_id": answer.headers["X-Request-Id"], "label": label})
                if len(told) == 50:
                    client.post(f"/model/{ENDPOINT}/feedback", json={"items": told})
                    told.clear()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def begin_rollout(client: httpx.Client, registry: str) -> None:
    """Move the alias, and wait until the candidate has its second share of the requests."""
    from mlflow import MlflowClient

    MlflowClient(registry).set_registered_model_alias("diabetes", "champion", "2")
    end = time.monotonic() + 120
    while time.monotonic() < end:
        rollout = client.get(f"/endpoints/{ENDPOINT}").raise_for_status().json()["rollout"] or {}
        if rollout.get("candidate") == 2 and rollout["ended_at"] is not None:
            raise SystemExit(f"version 2 is {rollout['state']}: {rollout['reason']}")
        if rollout.get("candidate") == 2 and rollout["state"] == "canary" and rollout["step"] == 1:
            canary = POLICY["canary"] | {"minutes": 5, "requests": 50}
            client.put(
                f"/endpoints/{ENDPOINT}", json=POLICY | {"canary": canary}
            ).raise_for_status()
            time.sleep(12)
            return
        time.sleep(0.2)
    raise SystemExit(f"version 2 gets no second share: {rollout}")


@contextmanager
def browser() -> Iterator[Any]:
    """Debian's Chromium, without a screen."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("cannot take pictures without Chromium (Debian: apt-get install chromium)")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as driver:
        it = driver.chromium.launch(executable_path=program, args=arguments)
        try:
            yield it
        finally:
            it.close()


def pictures(url: str) -> None:
    """Take all of them."""
    with browser() as it:
        for scheme in SCHEMES:
            context = it.new_context(color_scheme=scheme, viewport={"width": 1180, "height": 720})
            for name, path, press, target in PICTURES:
                take(context.new_page(), url + path, press, target, f"dashboard-{name}-{scheme}")
            context.close()
        context = it.new_context(viewport={"width": 390, "height": 780})
        take(context.new_page(), url, "", "body", "dashboard-phone-light")
        page = f"{url}/dashboard/endpoints/{ENDPOINT}"
        take(context.new_page(), page, "", ">#rollout", "dashboard-endpoint-phone-light")


def take(page: Any, url: str, press: str, target: str, name: str) -> None:
    """One picture, below docs/images."""
    page.goto(url)
    page.wait_for_timeout(2000)
    if press:
        page.locator(press).first.click()
        page.wait_for_timeout(2500)
    if target == "body":
        shot = page.screenshot()
    elif target.startswith(">"):
        last = page.locator(target[1:]).bounding_box()
        height = last["y"] + last["height"] + 12
        width = page.viewport_size["width"]
        shot = page.screenshot(
            full_page=True, clip={"x": 0, "y": 0, "width": width, "height": height}
        )
    else:
        # High enough, so that the heading of the page does not cover it.
        page.set_viewport_size({"width": page.viewport_size["width"], "height": 1400})
        shot = page.locator(target).screenshot()
    page.close()
    _keep(shot, IMAGES / f"{name}.png")


def _keep(shot: bytes, path: Path) -> None:
    """With as many colours as its size allows."""
    from PIL import Image

    picture = Image.open(io.BytesIO(shot)).convert("RGB")
    for colours in (128, 64, 32):
        picture.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size <= MOST:
            print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1000} KB")
            return
    raise SystemExit(f"cannot make {path} smaller than {MOST} bytes")


def main() -> None:
    """Train, serve, look."""
    lean, _ = drift.patients()
    with tempfile.TemporaryDirectory(prefix="screenshots-") as name:
        folder = Path(name)
        registry = drift.train(lean, folder)
        register_more(registry)
        with controller(folder, registry) as client:
            fill(client)
            url = str(client.base_url).rstrip("/")
            with traffic(url):
                time.sleep(TRAFFIC)
                begin_rollout(client, registry)
                pictures(url)


if __name__ == "__main__":
    main()
