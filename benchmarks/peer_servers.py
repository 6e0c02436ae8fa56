"""Other ways to serve the model: MLServer, in an environment of its own, and FastAPI by hand."""

import json
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import psutil
from load import HOST
from report import ROOT
from servers import Server, free_ports, started, wait

#: Not asked of the package index again once it is there.
ENVIRONMENT = ROOT / "build" / "peers"
MLSERVER = "mlserver"
#: Seconds to install it.
_INSTALLATION = 900
#: Rows of a batch, and seconds that a request waits for others.
BATCH_ROWS, BATCH_TIME = 256, 0.005


def install_mlserver() -> str:
    """Make sure that MLServer is there; why it cannot be had, or an empty text."""
    if (ENVIRONMENT / "bin" / MLSERVER).exists():
        return ""
    venv.create(ENVIRONMENT, with_pip=True, clear=True)
    # Its workers do not start with a newer uvloop.
    wanted = [MLSERVER, f"{MLSERVER}-sklearn", "uvloop<0.22"]
    wanted.append(f"scikit-learn=={version('scikit-learn')}")
    command = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "install", "--quiet", *wanted]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_INSTALLATION, check=False
        )
    except subprocess.TimeoutExpired:
        return f"it was not installed within {_INSTALLATION} s"
    lines = done.stderr.strip().splitlines()
    return (lines or ["pip failed"])[-1][:200] if done.returncode else ""


@contextmanager
def mlserver(model: Path, folder: Path) -> Iterator[Server]:
    """MLServer with adaptive batching."""
    home = folder / MLSERVER
    home.mkdir()
    port, grpc, metrics = free_ports(3)
    settings = {"host": HOST, "http_port": port, "grpc_port": grpc, "metrics_port": metrics}
    (home / "settings.json").write_text(json.dumps(settings))
    own = {
        "name": "peer",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "max_batch_size": BATCH_ROWS,
        "max_batch_time": BATCH_TIME,
        "parameters": {"uri": str(model)},
    }
    (home / "model-settings.json").write_text(json.dumps(own))
    command = [str(ENVIRONMENT / "bin" / MLSERVER), "start", str(home)]
    with started(MLSERVER, command, folder, {}) as process:
        wait(f"http://{HOST}:{port}/v2/models/peer/ready", process, folder / f"{MLSERVER}.log")
        yield Server(port, "/v2/models/peer/infer", psutil.Process(process.pid))


@contextmanager
def fastapi(model: Path, folder: Path) -> Iterator[Server]:
    """``hand_written.py`` behind uvicorn."""
    [port] = free_ports(1)
    command = [sys.executable, "-m", "uvicorn", "hand_written:app", "--no-access-log"]
    command += ["--app-dir", str(Path(__file__).parent), "--host", HOST, "--port", str(port)]
    with started("fastapi", command, folder, {"MODEL": str(model)}) as process:
        wait(f"http://{HOST}:{port}/ping", process, folder / "fastapi.log")
        yield Server(port, "/invocations", psutil.Process(process.pid))
