"""A controller with a model, and the gateway in front on every address, until standard input ends.

A program of its own, to be run in a network namespace: ``python -m tests.support.exposed_controller
FOLDER REGISTRY``. Says in a line of JSON where it listens.
"""

import json
import sys
from pathlib import Path

from tests.support.harness import Controller
from tests.support.nginx_gateway import Gateway
from tests.support.ports import free_port


def main(folder: Path, registry: str) -> None:
    """Start it, and end it."""
    controller = Controller(folder, registry).with_users()
    public = free_port()
    gateway = Gateway(
        folder / "gateway",
        f"127.0.0.1:{controller.port}",
        credentials=controller.data / "credentials",
        HTTP_PORT=str(public),
    )
    try:
        controller.up()
        model = controller.deploy("stub-1")
        gateway.start()
        told = {"gateway": public, "controller": controller.port, "model": model["port"]}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
    finally:
        gateway.end()
        if controller.running:
            controller.terminate()
        controller.destroy()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
