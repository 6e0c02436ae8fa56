"""What another machine reaches: the gateway and nothing else. Network namespaces stand for machines."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import pytest

from tests.support.harness import ROOT
from tests.support.missing import missing

#: Only inside of the two namespaces.
SERVER, CLIENT = "192.0.2.1", "192.0.2.2"
_SCAN = """
import json, socket, sys
def listens(port):
    with socket.socket() as probe:
        probe.settimeout(3)
        return probe.connect_ex((sys.argv[1], port)) == 0
print(json.dumps([port for port in map(int, sys.argv[2:]) if listens(port)]))
"""
#: All ports that something listens on, at whatever address: nobody else could be reached.
_LISTENING = """
import json
found = set()
for table in ("tcp", "tcp6"):
    with open(f"/proc/net/{table}") as sockets:
        fields = [line.split() for line in sockets][1:]
    found |= {int(one[1].rpartition(":")[2], 16) for one in fields if one[3] == "0A"}
print(json.dumps(sorted(found)))
"""
_ASK = """
import sys, urllib.request, urllib.error
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=10).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def unable(why: str) -> NoReturn:
    missing(f"no network namespaces: {why}")


@pytest.fixture
def namespaces() -> Iterator[tuple[str, str]]:
    """Two machines with a cable between them."""
    if shutil.which("ip") is None:
        unable("iproute2 is not installed")
    if os.geteuid():
        unable("making them takes root")
    server, client = (f"md-{os.getpid()}-{name}" for name in ("s", "c"))
    with ExitStack() as ending:
        for name in (server, client):
            try:
                ip("netns", "add", name)
            except subprocess.CalledProcessError as error:
                unable(error.stderr.decode())
            ending.callback(ip, "netns", "delete", name)
        ip(
            "-n",
            server,
            "link",
            "add",
            "eth0",
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            client,
        )
        for name, address in ((server, SERVER), (client, CLIENT)):
            ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            for device in ("eth0", "lo"):
                ip("-n", name, "link", "set", device, "up")
        yield server, client


def test_another_machine_reaches_the_gateway_and_nothing_else(
    namespaces: tuple[str, str], tmp_path: Path, stub_registry: Path
) -> None:
    server, client = namespaces
    program = [
        sys.executable,
        "-m",
        "tests.support.exposed_controller",
        str(tmp_path / "x"),
        # The file, since a server on this machine is not reached from there.
        f"sqlite:///{stub_registry / 'mlflow.db'}",
    ]
    with subprocess.Popen(
        ["ip", "netns", "exec", server, *program],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        assert running.stdout is not None
        assert running.stdin is not None
        ports = json.loads(running.stdout.readline())
        listening = json.loads(on(server, _LISTENING))
        assert set(ports.values()) <= set(listening)
        every = [str(port) for port in listening]
        assert set(ports.values()) <= set(json.loads(on(server, _SCAN, "127.0.0.1", *every)))
        assert json.loads(on(client, _SCAN, SERVER, *every)) == [ports["gateway"]]
        gateway = f"http://{SERVER}:{ports['gateway']}"
        for path, status in (("/health", "200"), ("/ready", "401"), ("/stub-1", "401")):
            assert on(client, _ASK, gateway + path).strip() == status
        running.stdin.close()
        assert running.wait(60) == 0


def on(namespace: str, program: str, *arguments: str) -> str:
    """What a program prints that runs on one of the machines."""
    done = subprocess.run(
        ["ip", "netns", "exec", namespace, sys.executable, "-S", "-c", program, *arguments],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
