"""A real ``mlflow server`` for a registry that tests share."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx

from tests.support.harness import HOST
from tests.support.ports import claim_ports
from tests.support.waiting import until_sync


@contextlib.contextmanager
def tracking_server(
    database: Path | None = None,
    folder: Path = Path(),
    *,
    before: Sequence[str] = (),
    environment: Mapping[str, str] = os.environ,
    python: str = sys.executable,
) -> Iterator[str]:
    """Serve a registry; the address. All the server has started ends with it.

    Args:
        database: SQLite's file; None where the environment names a database and a place for artifacts.
        folder: where the server works, and keeps artifacts unless the environment says otherwise.
        before: a command that becomes the server.
        python: of the MLflow that serves.
    """
    port = claim_ports(1)
    address = f"http://{HOST}:{port}"
    command = [
        *before,
        python,
        "-m",
        "mlflow",
        "server",
        "--workers",
        "1",
        "--host",
        HOST,
        "--port",
        str(port),
    ]
    if database is not None:
        command += ["--backend-store-uri", f"sqlite:///{database}"]
        command += ["--artifacts-destination", str(folder)]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            command,
            cwd=folder,
            env={**environment, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        with httpx.Client(base_url=address, verify=False, trust_env=False) as client:
            until_sync(
                lambda: _healthy(client, server),
                timeout=90,
                interval=0.1,
                what="the tracking server",
            )
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def _healthy(client: httpx.Client, server: subprocess.Popen[bytes]) -> bool:
    if server.poll() is not None:
        raise RuntimeError("the tracking server ended")
    try:
        return client.get("/health").status_code == 200
    except httpx.TransportError:
        return False
