"""Measures what a thousand slow clients do to the others at the gateway: a load with and without them.

    python benchmarks/slow.py [--check] [--write]

nginx with the shipped files, in front of the proxy with a trivial upstream. The slow ones send a byte now
and then, of their headers or of their bodies, and come again when they are cut off; the others keep to a
fixed rate, so that nobody waits for a slow moment to pass.
"""

import argparse
import asyncio
import base64
import os
import random
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import proxy
import report
import steady
import uvloop
from load import BODY, HOST
from report import REPORT, ROOT
from steady import median

sys.path.insert(0, str(ROOT))

from model_deployment.core.users import Role
from model_deployment.credentials import htpasswd

#: What p99 may become, as a multiple.
BAR = 2.0
SLOW = 1000
#: Requests per second of the others, and how many connections they share.
RATE, CONNECTIONS = 200, 20
ROUNDS = 4
SECONDS = 8.0
#: Seconds between two bytes of a slow one.
PAUSE = 2.0
#: Seconds in which they come: nobody is slow by agreement.
COMING = 8.0
#: The slow ones are told which.
PASSWORD = sys.argv[4] if "--crowd" in sys.argv else secrets.token_hex(16)
_BASIC = base64.b64encode(f"caller:{PASSWORD}".encode()).decode()
HEAD = (
    f"POST {proxy.KEY.path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {_BASIC}\r\n"
    f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n"
).encode()


@dataclass(frozen=True)
class Seen:
    """One round; latencies in milliseconds."""

    p50: float
    p99: float
    failed: int
    #: Slow connections that were open.
    slow: int


@contextmanager
def gateway(controller: int, folder: Path) -> Iterator[int]:
    """nginx, and the port it listens on."""
    credentials = folder / "credentials"
    htpasswd.set_user(credentials, "admin", secrets.token_hex(16), Role.OPERATOR)
    htpasswd.set_user(credentials, "caller", PASSWORD, Role.CALLER)
    port = _free_port()
    environment = {
        "PATH": os.defpath,
        "CONTROLLER": f"{HOST}:{controller}",
        "CREDENTIALS": str(credentials),
        "CERTIFICATES": str(folder / "none"),
        "HTTP_PORT": f"{HOST}:{port}",
        "GATEWAY_RUN": str(folder / "run"),
    }
    with (folder / "gateway.log").open("wb") as log:
        process = subprocess.Popen(
            [ROOT / "nginx" / "start.sh"], env=environment, stdout=log, stderr=log
        )
    try:
        _wait_for(port, folder / "gateway.log")
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int, log: Path) -> None:
    for _ in range(200):
        with suppress(OSError), socket.create_connection((HOST, port)):
            return
        time.sleep(0.05)
    sys.exit(f"nginx does not listen:\n{log.read_text()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


async def crowd(port: int) -> None:
    """Be the slow ones, of ten addresses, since one may have so many connections only.

    Says how many are there when all have come, and when its standard input ends.
    """
    there = 0

    async def dawdle(number: int) -> None:
        nonlocal there
        # Half of them have said all but their body.
        sent, rest = (HEAD + b"\r\n", BODY) if number % 2 else (b"", HEAD)
        await asyncio.sleep(random.uniform(0, COMING))
        while True:
            with suppress(
                OSError, RuntimeError
            ):  # the latter is uvloop's word for a lost connection
                where = (f"127.0.1.{1 + number % 10}", 0)
                _, writer = await asyncio.open_connection(HOST, port, local_addr=where)
                there += 1
                try:
                    writer.write(sent)
                    for byte in rest:
                        writer.write(bytes([byte]))
                        await writer.drain()
                        await asyncio.sleep(PAUSE)
                finally:
                    there -= 1
                    writer.close()
            await asyncio.sleep(0.1)

    tasks = [asyncio.create_task(dawdle(number)) for number in range(SLOW)]
    await asyncio.sleep(COMING + 2)
    print(there, flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()
    print(there, flush=True)
    for task in tasks:
        task.cancel()


@contextmanager
def crowded(port: int, core: int) -> Iterator[list[int]]:
    """Beside the slow ones; afterwards, how many there were at the beginning and at the end."""
    counts: list[int] = []
    process = subprocess.Popen(
        [sys.executable, __file__, "--crowd", str(port), str(core), PASSWORD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        counts.append(int(process.stdout.readline()))
        yield counts
        process.stdin.close()
        counts.append(int(process.stdout.readline()))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def normal(port: int, seconds: float) -> tuple[list[float], int]:
    """The others: latencies in milliseconds, and how many failed."""
    request = HEAD + b"\r\n" + BODY
    return uvloop.run(steady.calls(port, request, seconds, rate=RATE, connections=CONNECTIONS))


def one_round(port: int, core: int, slow: bool) -> Seen:
    with crowded(port, core) if slow else nullcontext([0, 0]) as counts:
        latencies, failed = normal(port, SECONDS)
    latencies.sort()
    p99 = latencies[len(latencies) * 99 // 100]
    return Seen(statistics.median(latencies), p99, failed, min(counts))


def measure() -> dict[bool, list[Seen]]:
    """With and without them by turns."""
    core = min(os.sched_getaffinity(0))
    seen: dict[bool, list[Seen]] = {False: [], True: []}
    with (
        tempfile.TemporaryDirectory() as folder,
        proxy.started("upstream", core) as upstream,
        proxy.started("proxy", core, upstream.port) as controller,
        gateway(controller.port, Path(folder)) as port,
    ):
        normal(port, 1.0)
        for number in range(2 * ROUNDS):
            slow = bool(number % 2)
            seen[slow].append(one_round(port, core, slow))
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail above the bar")
    parser.add_argument("--write", action="store_true", help=f"update {REPORT.name}")
    parser.add_argument("--crowd", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.crowd:
        port, core, _ = arguments.crowd
        os.sched_setaffinity(0, {int(core)})
        uvloop.run(crowd(int(port)))
        return
    seen = measure()
    ratio = median(seen[True], "p99") / median(seen[False], "p99")
    there = min(one.slow for one in seen[True])
    lines = [
        f"{RATE} requests a second on {CONNECTIONS} connections through nginx and the proxy, with bcrypt "
        f"passwords, beside {SLOW:,} clients that send a byte every {PAUSE:g} s; medians of {ROUNDS} "
        f"rounds of {SECONDS:g} s each, by turns.",
        "",
        "| | p50 ms | p99 ms |",
        "| --- | ---: | ---: |",
        *(
            f"| {name} | {median(seen[slow], 'p50'):.2f} | {median(seen[slow], 'p99'):.2f} |"
            for slow, name in ((False, "alone"), (True, f"beside {there:,} slow ones"))
        ),
        "",
        f"p99 is {ratio:.2f} times what it is without them; the bar is {BAR:g}.",
    ]
    print("\n".join(lines))
    if arguments.write:
        report.write("slow", "\n".join(lines), "## Slow clients at the gateway")
    if failed := sum(one.failed for rounds in seen.values() for one in rounds):
        sys.exit(f"{failed} calls failed")
    if arguments.check and ratio > BAR:
        sys.exit(f"p99 is {ratio:.2f} times as long, above the bar of {BAR:g}")


if __name__ == "__main__":
    main()
