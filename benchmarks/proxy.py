"""Measures the proxy: requests per second on one core, beside the same load without the proxy.

    python benchmarks/proxy.py [--check] [--write]

The proxy has a core for itself; a trivial upstream and the load generator share another one, so that
what is compared with the bar is the cost of the proxy and of nothing else.
"""

import argparse
import asyncio
import gc
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import load
import psutil
import report
import uvicorn
import uvloop
from load import BODY, CALLERS, COLUMNS, HOST, PREDICTION, Load
from report import REPORT, ROOT

sys.path.insert(0, str(ROOT))

from model_deployment.core.domain import Endpoint, Route, State
from model_deployment.core.names import ModelKey
from model_deployment.core.signature import Signature
from model_deployment.gate import Gate, Validation
from model_deployment.http.asgi import Receive, Scope, Send
from model_deployment.http.connection import Connection
from model_deployment.proxy.context import ExchangeContext, RequestRecorder
from model_deployment.proxy.forward import Proxy
from model_deployment.proxy.routes import Routes
from model_deployment.proxy.upstream import UpstreamLimits

BAR = 5_000
ROUNDS = 3
SECONDS = 3
KEY = ModelKey("diabetes", 1)
MAPPING = json.loads((ROOT / "type_mapping.json").read_text(encoding="utf-8"))
SIGNATURE = Signature(
    [{"name": name, "type": "double", "required": True} for name in COLUMNS], None, None
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\nserver: uvicorn\r\n"
    b"content-length: %d\r\ncontent-type: application/json\r\n\r\n" % len(PREDICTION)
) + PREDICTION


@dataclass(frozen=True)
class Round:
    """One measurement of both ways, one after the other."""

    direct: Load
    proxied: Load
    #: Seconds of processor time the proxy took.
    spent: float

    @property
    def per_core(self) -> float:
        """Requests for each second of processor time, whatever else the machine is doing."""
        return self.proxied.answers / self.spent


class Trivial(asyncio.Protocol):
    """The upstream: gives one fixed answer to each request, without looking at it closely."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._seen = b""

    def data_received(self, data: bytes) -> None:
        self._seen += data
        # Every request is this one, so the end of its body is the end of it.
        while (end := self._seen.find(BODY)) >= 0:
            self._seen = self._seen[end + len(BODY) :]
            self._transport.write(ANSWER)


async def upstream(listener: socket.socket) -> None:
    """Serve trivial predictions until the parent ends."""
    server = await asyncio.get_running_loop().create_server(Trivial, sock=listener)
    async with server:
        await _parent_ends()


async def proxy(
    listener: socket.socket, port: int, recorder: RequestRecorder | None = None
) -> None:
    """Serve the proxy as ``server.serve`` does, with one deployment, until the parent ends."""
    gate = Gate(SIGNATURE, MAPPING, Validation.STRICT)
    routes = Routes(UpstreamLimits(), gates=lambda route: gate)
    gc.set_threshold(20_000, 20, 20)
    routes.publish([Route(KEY, State.READY, "launch", Endpoint(HOST, port))])
    config = uvicorn.Config(
        Proxy(_nothing_else, routes, ExchangeContext(10 * 1024 * 1024, recorder=recorder)),
        http=Connection,
        loop="uvloop",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await _parent_ends()
    server.should_exit = True
    await serving
    await routes.close()


async def _nothing_else(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError(f"only the model is asked, not {scope['path']}")


async def _parent_ends() -> None:
    """Wait for the end of standard input, which comes even when the parent is killed."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()


def run_child(role: str, core: int, listener: int, port: int = 0) -> None:
    """Be one of the servers."""
    os.sched_setaffinity(0, {core})
    inherited = socket.socket(fileno=listener)
    uvloop.run(upstream(inherited) if role == "upstream" else proxy(inherited, port))


@contextmanager
def started(role: str, core: int, *port: int) -> Iterator[tuple[int, psutil.Process]]:
    """A server in a process of its own, and the port it listens on."""
    with socket.create_server((HOST, 0), backlog=128) as listener:
        arguments = map(str, (core, listener.fileno(), *port))
        process = subprocess.Popen(
            [sys.executable, __file__, "--child", role, *arguments],
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno()],
        )
        listening = listener.getsockname()[1]
    assert process.stdin is not None
    try:
        yield listening, psutil.Process(process.pid)
    finally:
        process.stdin.close()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def measure() -> list[Round]:
    """Both ways by turns, so that a slow moment of the machine hits both."""
    cores = sorted(os.sched_getaffinity(0))
    mine, others = cores[0], cores[-1]
    rounds = []
    with (
        started("upstream", others) as (direct, _),
        started("proxy", mine, direct) as (proxied, process),
    ):
        load.put(proxied, KEY.path, 1, core=others)
        for _ in range(ROUNDS):
            one = load.put(direct, "/invocations", SECONDS, core=others)
            before = sum(process.cpu_times()[:2])
            other = load.put(proxied, KEY.path, SECONDS, core=others)
            rounds.append(Round(one, other, sum(process.cpu_times()[:2]) - before))
    return rounds


def table(direct: Load, proxied: Load, per_core: float) -> str:
    """The figures in Markdown."""
    return "\n".join(
        [
            f"One-row JSON bodies from {CALLERS} callers ({load.tool()}), a trivial upstream; the best "
            f"of {ROUNDS} rounds of {SECONDS} s each.",
            "",
            "| | requests/s | p50 ms | p99 ms |",
            "| --- | ---: | ---: | ---: |",
            *(
                f"| {name} | {seen.rate:,.0f} | {seen.p50:.2f} | {seen.p99:.2f} |"
                for name, seen in (("direct", direct), ("through the proxy", proxied))
            ),
            f"| ratio | {proxied.rate / direct.rate:.2f} | {proxied.p50 / direct.p50:.1f} "
            f"| {proxied.p99 / direct.p99:.1f} |",
            "",
            f"The proxy spent {1e6 / per_core:.0f} µs of processor time on a request, so one core is "
            f"good for {per_core:,.0f} requests/s; the bar is {BAR:,}.",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail below the bar")
    parser.add_argument("--write", action="store_true", help=f"update {REPORT.name}")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        role, *numbers = arguments.child
        run_child(role, *map(int, numbers))
        return
    rounds = measure()
    # The best: other programs on the machine can only make it slower.
    best = max(rounds, key=lambda one: one.proxied.rate)
    per_core = max(one.per_core for one in rounds)
    figures = table(max((r.direct for r in rounds), key=lambda d: d.rate), best.proxied, per_core)
    print(figures)
    if arguments.write:
        report.write("proxy", figures, "## The proxy")
    if failed := sum(one.direct.failed + one.proxied.failed for one in rounds):
        sys.exit(f"{failed} calls failed")
    if arguments.check and per_core < BAR:
        sys.exit(f"{per_core:,.0f} requests/s is below the bar of {BAR:,}")


if __name__ == "__main__":
    main()
