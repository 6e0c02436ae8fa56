"""Takes the pictures of the dashboard in docs/images: real models and traffic (make screenshots).

Everything happens in a temporary folder, on free ports of this machine; the models are those of
examples/drift.py.
"""

import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
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
#: Seconds of requests before the first picture.
TRAFFIC = 100
SCHEMES = ("light", "dark")
#: Name, path, what is pressed first, and what is looked at.
PICTURES = (
    ("overview", "/", "", "body"),
    ("registry", "/dashboard/registry/diabetes", "[data-deploy]", "body"),
    ("deployment", "/dashboard/deployments/diabetes-1", "#ask", "body"),
    ("inputs", "/dashboard/deployments/diabetes-1", "#load-columns", "#inputs"),
    ("quality", "/dashboard/deployments/diabetes-1", "", "#reports"),
    ("compare", "/dashboard/compare/diabetes?versions=1,2", "", "body"),
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
    """A second version, another model of the same kind, and one that is broken."""
    from mlflow import MlflowClient

    client = MlflowClient(registry)
    one = client.get_model_version("diabetes", "1")
    client.create_model_version("diabetes", one.source, one.run_id)
    client.set_registered_model_alias("diabetes", "champion", "1")
    client.set_registered_model_alias("diabetes", "challenger", "2")
    client.update_registered_model("diabetes", "Progression one year after the examination.")
    client.create_registered_model("readmission", description="Days until a patient comes back.")
    client.create_model_version("readmission", one.source, one.run_id)
    client.create_registered_model("triage", description="Which patients are seen first.")
    client.create_model_version("triage", "file:///nowhere/triage", one.run_id)
    client.create_model_version("diabetes", one.source, one.run_id)


def fill(client: httpx.Client) -> None:
    """Deploy, and have some minutes of traffic."""
    for key in ("diabetes/1", "diabetes/2", "readmission/1"):
        client.post(f"/deploy/{key}?wait=150").raise_for_status()
    client.post("/deploy/triage/1?wait=30")
    _, heavy = drift.patients()
    drift.serve(client, heavy)
    for rmse in (53.1, 55.9, 61.2):
        metrics = {"metrics": {"rmse": rmse}, "n": 200}
        client.post("/model/diabetes-1/set_new_metrics", json=metrics).raise_for_status()
    drift.wait_until_captured(client)
    drift.report(client, Path(os.devnull))
    end = time.monotonic() + TRAFFIC
    asked = 0
    while time.monotonic() < end:
        asked += 1
        record = heavy.sample(1).drop(columns="target").to_dict("records")[0]
        if asked % 40 == 0:
            record["age"] = "unknown"
        name = ("diabetes-1", "diabetes-1", "diabetes-2", "readmission-1")[asked % 4]
        client.post(f"/{name}", json=record)
        time.sleep(0.05 + 0.1 * (int(end - time.monotonic()) % 20 < 8))


def pictures(url: str) -> None:
    """Take all of them."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("cannot take pictures without Chromium (Debian: apt-get install chromium)")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=arguments)
        for scheme in SCHEMES:
            context = browser.new_context(
                color_scheme=scheme, viewport={"width": 1180, "height": 720}
            )
            for name, path, press, target in PICTURES:
                _take(context.new_page(), url + path, press, target, f"dashboard-{name}-{scheme}")
            context.close()
        context = browser.new_context(viewport={"width": 390, "height": 780})
        _take(context.new_page(), url, "", "body", "dashboard-phone-light")
        browser.close()


def _take(page: Any, url: str, press: str, target: str, name: str) -> None:
    page.goto(url)
    page.wait_for_timeout(2000)
    if press:
        page.locator(press).first.click()
        page.wait_for_timeout(2500)
    shot = page.screenshot() if target == "body" else page.locator(target).screenshot()
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
            pictures(str(client.base_url).rstrip("/"))


if __name__ == "__main__":
    main()
