"""The two servers that ``serving.py`` compares: ``mlflow models serve``, and the controller."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import load
import psutil
from load import HOST, Load
from report import ROOT

START = 120
#: A server that takes less of a core than this has nothing left to do.
IDLE = 0.1


@dataclass(frozen=True)
class Server:
    """A place where predictions are made."""

    port: int
    path: str
    process: psutil.Process

    @property
    def url(self) -> str:
        """Where predictions are asked for."""
        return f"http://{HOST}:{self.port}{self.path}"

    def settle(self, seconds: float = 60) -> None:
        """Wait until it has worked off what was asked by callers who have gone since."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            begin, before = time.perf_counter(), self._spent()
            time.sleep(0.2)
            if self._spent() - before < IDLE * (time.perf_counter() - begin):
                return
        raise TimeoutError(f"{self.url} is still busy after {seconds:g} s without a request")

    def _spent(self) -> float:
        """Seconds of processor time that it and its children have taken."""
        spent = 0.0
        for process in (self.process, *self.process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                spent += sum(process.cpu_times()[:2])
        return spent


@dataclass(frozen=True)
class Way:
    """A server that is measured, and how many requests of each load on it have failed."""

    server: Server
    failures: list[int]

    def put(self, seconds: float, **what: Any) -> Load:
        """Put a load on it, see :func:`load.put`."""
        seen = load.put(self.server.port, self.server.path, seconds, **what)
        self.failures.append(seen.failed)
        return seen


@contextmanager
def direct(model: Path, folder: Path) -> Iterator[Server]:
    """``mlflow models serve`` as a user would start it."""
    [port] = free_ports(1)
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(model)]
    command += ["-h", HOST, "-p", str(port), "--env-manager", "local"]
    with started("direct", command, folder, {}) as process:
        wait(f"http://{HOST}:{port}/ping", process, folder / "direct.log")
        yield Server(port, "/invocations", psutil.Process(process.pid))


@contextmanager
def controller(
    registry: str,
    model: str,
    version: int,
    options: dict[str, Any],
    folder: Path,
    settings: Mapping[str, str] = {},
) -> Iterator[Server]:
    """A controller with one deployment, and further settings."""
    with empty_controller(registry, 1, folder, settings) as server:
        deploy(server, model, version, options)
        yield replace(server, path=f"/{model}-{version}")


@contextmanager
def empty_controller(
    registry: str, models: int, folder: Path, more: Mapping[str, str] = {}
) -> Iterator[Server]:
    """A controller without deployments, and with ports for so many."""
    [port] = free_ports(1)
    first = _free_range(models)
    settings = {
        "MODEL_DEPLOYMENT_DATA_DIR": str(folder / "data"),
        "MODEL_DEPLOYMENT_HOST": HOST,
        "MODEL_DEPLOYMENT_PORT": str(port),
        "MODEL_DEPLOYMENT_PORTS": f"{first}-{first + models - 1}",
        "MODEL_DEPLOYMENT_KEEP_MODELS": "false",
        "MLFLOW_TRACKING_URI": registry,
        "PYTHONPATH": str(ROOT),
        **more,
    }
    command = [sys.executable, "-m", "model_deployment", "serve"]
    with started("controller", command, folder, settings) as process:
        wait(f"http://{HOST}:{port}/ready", process, folder / "controller.log")
        yield Server(port, "", psutil.Process(process.pid))


def deploy(server: Server, model: str, version: int, options: dict[str, Any]) -> None:
    """Deploy a model version, and wait until it is ready."""
    answer = httpx.post(
        f"http://{HOST}:{server.port}/deploy/{model}/{version}?wait={START}",
        json=options,
        timeout=START + 10,
        trust_env=False,
    )
    if answer.status_code != 200:
        raise RuntimeError(f"cannot deploy: {answer.status_code} {answer.text}")


@contextmanager
def started(
    name: str, command: list[str], folder: Path, settings: dict[str, str]
) -> Iterator["subprocess.Popen[bytes]"]:
    """A program in a session of its own, with temporary files and log in a folder."""
    # MLflow starts uvicorn by name: that must be the one beside this interpreter.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.defpath])
    variables = {"PATH": path, "TMPDIR": str(folder), **settings}
    prefix = ["env", "-u", "MLFLOW_REGISTRY_URI", *(f"{k}={v}" for k, v in variables.items())]
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [*prefix, *command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: "subprocess.Popen[bytes]", seconds: float = 20) -> None:
    """End a session, after the time a controller takes to stop its models."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=seconds)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def end_strays(folder: Path) -> None:
    """Kill what a folder's programs left behind, such as the models of a controller that died."""
    strays = []
    for process in psutil.process_iter():
        # A process that ends meanwhile, or another user's.
        with suppress(psutil.Error):
            words = (*process.cmdline(), *process.environ().values())
            if any(str(folder) in word for word in words):
                process.kill()
                strays.append(process)
    psutil.wait_procs(strays, timeout=5)


def wait(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until a program answers that it is ready."""
    end = time.monotonic() + START
    while process.poll() is None and time.monotonic() < end:
        with suppress(httpx.TransportError):
            if httpx.get(url, timeout=5, trust_env=False).status_code == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(f"no server at {url}:\n{log.read_text(errors='replace')[-2000:]}")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server((HOST, 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in sockets]


def _free_range(count: int) -> int:
    """The first of so many ports in a row that nobody listens on, below those the system gives out."""
    taken = {one.laddr.port for one in psutil.net_connections("tcp") if one.laddr}
    for first in range(24_000, 31_000, count):
        if taken.isdisjoint(range(first, first + count)):
            return first
    raise RuntimeError(f"cannot find {count} free ports in a row")
