"""Which Pythons and MLflows our model server runs with: forks in environments that models pin.

    python benchmarks/environments.py [--write] [--only TEXT]

Builds each environment with uv, saves a model of each library with its MLflow, starts two models as forks
of one warm parent, and compares their predictions with those of MLflow in a process of the environment.
A Python that is not here is left out of the table.
"""

import argparse
import asyncio
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import report
from report import ROOT

sys.path.insert(0, str(ROOT))

from model_deployment.core.domain import Address, LaunchSpec
from model_deployment.core.names import ModelKey
from model_deployment.core.options import EnvManager, Options
from model_deployment.environments.environment import Environment
from model_deployment.runtime.forkserver import ForkSettings, ForkStarter
from model_deployment.runtime.parent_process import parent_of
from model_deployment.settings import Settings
from tests.support.pinned_environments import Pinned, build
from tests.support.ports import free_port

HOST, MB, PATIENCE = "127.0.0.1", 1024 * 1024, 180.0
TABLE = ROOT / "docs" / "environments.md"
_LIBRARIES = ("scikit-learn", "xgboost", "lightgbm")
MATRIX = [
    Pinned("3.9", "2.9.2"), Pinned("3.9", "2.22.5"), Pinned("3.10", "2.9.2"), Pinned("3.10", "2.16.2"),
    Pinned("3.10", "3.17.2"), Pinned("3.11", "2.9.2", _LIBRARIES),
    Pinned("3.11", "2.22.5", (*_LIBRARIES, "torch", "onnxruntime", "onnx", "skl2onnx")),
    Pinned("3.11", "3.17.2", _LIBRARIES), Pinned("3.12", "2.22.5"), Pinned("3.12", "3.0.1"),
    Pinned("3.13", "3.17.2", _LIBRARIES),
]  # fmt: skip
#: Saves a model of a library, and prints what it predicts for a row: alone, in a process of its own.
SAVE = """
import json, sys, warnings
warnings.simplefilter("ignore")
import mlflow, numpy as np, pandas as pd
library, path = sys.argv[1:]
rows = np.random.default_rng(0).normal(size=(300, 4))
frame = pd.DataFrame(rows, columns=list("abcd"))
classes = (rows[:, 0] + rows[:, 1] > 0).astype(int)
given, more = frame, {}
if library == "torch":
    import torch
    from mlflow.models import infer_signature
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 256), torch.nn.ReLU(), torch.nn.Linear(256, 2))
    given = rows.astype("float32")
    with torch.no_grad():
        more["signature"] = infer_signature(given, model(torch.from_numpy(given)).numpy())
    mlflow.pytorch.save_model(model, path, **more)
elif library == "onnxruntime":
    from sklearn.linear_model import LogisticRegression
    from skl2onnx import to_onnx
    given = rows.astype("float32")
    model = LogisticRegression().fit(given, classes)
    mlflow.onnx.save_model(to_onnx(model, given[:1], options={"zipmap": False}, target_opset=15), path)
else:
    if library == "xgboost":
        import xgboost
        model, save = xgboost.XGBClassifier(n_estimators=50), mlflow.xgboost.save_model
    elif library == "lightgbm":
        import lightgbm
        model, save = lightgbm.LGBMClassifier(n_estimators=50, verbose=-1), mlflow.lightgbm.save_model
    else:
        from sklearn.linear_model import LogisticRegression
        model, save = LogisticRegression(), mlflow.sklearn.save_model
    from mlflow.models import infer_signature
    model.fit(frame, classes)
    save(model, path, signature=infer_signature(frame, model.predict(frame)))
from mlflow.pyfunc import scoring_server
loaded = mlflow.pyfunc.load_model(path)
if library == "onnxruntime":
    name = loaded._model_impl.inputs[0][0] if hasattr(loaded._model_impl, "inputs") else "X"
    body = {"inputs": {name: given[:20].tolist()}}
elif library == "torch":
    body = {"inputs": given[:20].tolist()}
else:
    body = {"dataframe_split": {"columns": list("abcd"), "data": rows[:20].tolist()}}
asked = json.dumps(body)
answer = scoring_server.invocations(asked, "application/json", loaded, loaded.metadata.get_input_schema())
print("\\n" + json.dumps({"asked": asked, "answer": answer.response}))
"""


@dataclass(frozen=True)
class Tried:
    """Two models of a library in one environment."""

    library: str
    #: Why they are not served by forks; empty: they are.
    why: str = ""
    #: Seconds until the parent and the first model are ready, and until the second is.
    first: float = 0.0
    second: float = 0.0
    #: Bytes of the parent (RSS), and of the second model alone (USS): what it adds.
    parent: int = 0
    model: int = 0


def save(environment: Environment, library: str, path: Path) -> tuple[bytes, Any]:
    """A request for a saved model, and the answer of MLflow."""
    done = subprocess.run(
        [str(environment.python), "-c", SAVE, library, str(path)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1][:200])
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return found["asked"].encode(), json.loads(found["answer"])


async def try_library(environment: Environment, library: str, folder: Path) -> Tried:
    """Start two models of a library, and ask both."""
    model = folder / library
    body, expected = await asyncio.to_thread(save, environment, library, model)
    module = {"scikit-learn": "sklearn"}.get(library, library)
    settings = Settings()
    process = parent_of(
        replace(environment, modules=(module,)),
        folder / "worker" / library,
        folder / "worker.log",
        folder / "programs",
        settings.model_environment(EnvManager.LOCAL),
        settings.preload,
    )
    terms = ForkSettings(
        instance=f"environments-{os.getpid()}",
        logs=folder,
        work=folder,
        environment=settings.model_environment,
        request_timeout=60,
        built=environment,
    )
    forks = ForkStarter(terms, process, lambda: None)
    handles: list[int] = []
    parent = 0
    try:
        begun = time.monotonic()
        forks.warming()
        while not forks.parent_pid:
            if time.monotonic() - begun > PATIENCE:
                return Tried(library, process.log.read_text().strip().splitlines()[-1][:200])
            await asyncio.sleep(0.02)
        parent = forks.parent_pid
        times = []
        for number in range(2):
            address = Address(HOST, free_port())
            key = ModelKey(module, number + 1)
            spec = LaunchSpec(f"{module}{number}", key, str(model), address, Options())
            at = begun if number == 0 else time.monotonic()
            handles.append((await forks.start(spec)).pid)
            await asyncio.to_thread(ready, address.port)
            times.append(time.monotonic() - at)
            for _ in range(3):
                told = await asyncio.to_thread(ask, address.port, "POST", "/invocations", body)
                if not (told[0] == 200 and close(json.loads(told[1]), expected)):
                    return Tried(library, f"it answers {told!r:.200}, and MLflow {expected!r:.200}")
        memory = psutil.Process(parent).memory_full_info().rss
        own = psutil.Process(handles[1]).memory_full_info().uss
        return Tried(library, "", times[0], times[1], memory, own)
    finally:
        await forks.close()
        for pid in filter(None, [*handles, parent]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


def close(one: Any, other: Any) -> bool:
    """Whether answers agree: floats to the sixth digit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(close, one, other))
    if isinstance(one, float):
        return abs(one - other) <= 1e-6 * max(1.0, abs(other))
    return bool(one == other)


def ready(port: int) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if ask(port, "GET", "/ping", b"")[0] == 200:
                return
        time.sleep(0.01)
    raise TimeoutError("the model is not ready")


def ask(port: int, method: str, path: str, body: bytes) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    with contextlib.closing(connection):
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()


def line(pinned: Pinned, tried: Tried) -> str:
    begin = f"| {pinned.python} | {pinned.mlflow} | {tried.library} |"
    if tried.why:
        return f"{begin} `mlflow models serve`: {tried.why} | | | | |"
    return (
        f"{begin} fork | {tried.first:.1f} | {tried.second:.2f} | "
        f"{tried.parent / MB:.0f} | {tried.model / MB:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--write", action="store_true", help="write the table to docs/environments.md"
    )
    parser.add_argument("--only", default="", help="only environments whose name contains this")
    parser.add_argument("--root", type=Path, help="where environments are built, to be used again")
    options = parser.parse_args()
    lines = [
        "| Python | MLflow | library | served by | first, s | second, s | parent, MB | second, MB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for pinned in (one for one in MATRIX if options.only in str(one)):
            try:
                environment = build(pinned, options.root or Path(folder, "environments"))
            except pytest.skip.Exception as reason:
                print(f"{pinned}: left out: {reason}")
                continue
            for library in ("scikit-learn", *(n for n in pinned.packages if n not in _NO_MODELS)):
                place = Path(folder, str(pinned))
                place.mkdir(exist_ok=True)
                try:
                    tried = asyncio.run(try_library(environment, library, place))
                except (RuntimeError, OSError) as error:
                    print(f"{pinned}: {library} left out: {error}")
                    continue
                lines.append(line(pinned, tried))
                print(lines[-1], flush=True)
    if options.write:
        report.write("environments", "\n".join(lines), "", TABLE)


_NO_MODELS = ("scikit-learn", "onnx", "skl2onnx")

if __name__ == "__main__":
    main()
