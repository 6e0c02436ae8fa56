"""Measures the proxy: requests per second on one core, beside the same load without the proxy.

    python benchmarks/proxy.py [--check] [--write]

The proxy has a core for itself; a trivial upstream and the load generator share the other one, so
that what is compared with the bar is the cost of the proxy and of nothing else.
"""

import argparse
import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
import uvloop

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from model_deployment.domain import Endpoint, ModelKey, Route, State  # noqa: E402
from model_deployment.proxy.forward import Proxy, Receive, Scope, Send  # noqa: E402
from model_deployment.proxy.routes import Routes  # noqa: E402

BAR = 5_000
CALLERS = 16
ROUNDS = 3
SECONDS = 3
HOST = "127.0.0.1"
KEY = ModelKey("diabetes", 1)
COLUMNS = ["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"]
ROW = [0.038, 0.05, 0.061, 0.021, -0.044, -0.034, -0.043, -0.002, 0.019, -0.017]
BODY = json.dumps({"dataframe_split": {"columns": COLUMNS, "data": [ROW]}}).encode()
PREDICTION = b'{"predictions": [206.11667725]}'
ANSWER = (
    b"HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\nserver: uvicorn\r\n"
    b"content-length: %d\r\ncontent-type: application/json\r\n\r\n%b" % (len(PREDICTION), PREDICTION)
)
REPORT = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- proxy -->", "<!-- /proxy -->"

WRK = """
wrk.method, wrk.body = "POST", '%s'
wrk.headers["Content-Type"] = "application/json"
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\n{"answers": %%d, "seconds": %%f, "p50": %%f, "p99": %%f, "failed": %%d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True)
class Load:
    """What a load generator saw; latencies in milliseconds."""

    answers: int
    seconds: float
    p50: float
    p99: float
    failed: int

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.answers / self.seconds


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


class Caller(asyncio.Protocol):
    """One caller of the load generator that stands in for wrk: sends again when answered."""

    def __init__(self, request: bytes, until: float, latencies: list[float]) -> None:
        self._request = request
        self._until = until
        self._latencies = latencies
        self.failed = 0
        self.over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._seen += data
        if not self._seen.endswith(PREDICTION):
            return
        now = time.perf_counter()
        self._latencies.append(now - self._sent)
        self.failed += not self._seen.startswith(b"HTTP/1.1 200 ")
        if now < self._until:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.failed += time.perf_counter() < self._until
        self.over.set_result(None)

    def _send(self) -> None:
        self._seen = b""
        self._sent = time.perf_counter()
        self._transport.write(self._request)


async def upstream(listener: socket.socket) -> None:
    """Serve trivial predictions until the parent ends."""
    server = await asyncio.get_running_loop().create_server(Trivial, sock=listener)
    async with server:
        await _parent_ends()


async def proxy(listener: socket.socket, port: int) -> None:
    """Serve the proxy as ``app.serve`` does, with one deployment, until the parent ends."""
    routes = Routes(connections=128, read_timeout=62)
    routes.publish([Route(KEY, State.READY, "launch", Endpoint(HOST, port))])
    config = uvicorn.Config(
        Proxy(_nothing_else, routes, max_body_bytes=10 * 1024 * 1024),
        http="httptools",
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


async def load(port: int, path: str, seconds: float) -> Load:
    """Call as wrk would, for want of wrk."""
    request = b"POST %b HTTP/1.1\r\nHost: %b:%d\r\nContent-Type: application/json\r\n" % (
        path.encode(), HOST.encode(), port,
    )  # fmt: skip
    request += b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
    latencies: list[float] = []
    begin = time.perf_counter()
    callers = [Caller(request, begin + seconds, latencies) for _ in range(CALLERS)]
    loop = asyncio.get_running_loop()
    for caller in callers:
        await loop.create_connection(lambda caller=caller: caller, HOST, port)
    async with asyncio.timeout(seconds + 5):
        await asyncio.gather(*(caller.over for caller in callers))
    latencies.sort()
    return Load(
        answers=len(latencies),
        seconds=time.perf_counter() - begin,
        p50=latencies[len(latencies) // 2] * 1e3,
        p99=latencies[len(latencies) * 99 // 100] * 1e3,
        failed=sum(caller.failed for caller in callers),
    )


def child(role: str, core: int, *more: object, listener: socket.socket | None = None) -> list[str]:
    """The arguments of this program in one of its other roles."""
    inherited = -1 if listener is None else listener.fileno()
    return [sys.executable, __file__, "--role", role, *map(str, (core, inherited, *more))]


def run_child(role: str, core: int, inherited: int, more: list[str]) -> None:
    """Be one of the other processes."""
    os.sched_setaffinity(0, {core})
    if role == "load":
        port, path, seconds = more
        print(json.dumps(vars(uvloop.run(load(int(port), path, float(seconds))))))
        return
    listener = socket.socket(fileno=inherited)
    if role == "upstream":
        uvloop.run(upstream(listener))
    else:
        uvloop.run(proxy(listener, int(more[0])))


@contextmanager
def started(role: str, core: int, *more: object) -> Iterator[int]:
    """A server in a process of its own; the port it listens on."""
    with socket.create_server((HOST, 0), backlog=128) as listener:
        process = subprocess.Popen(
            child(role, core, *more, listener=listener),
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno()],
        )
        port = listener.getsockname()[1]
    assert process.stdin is not None
    try:
        yield port
    finally:
        process.stdin.close()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def generator(core: int) -> Callable[[int, str, float], Load]:
    """The load generator: wrk, or for want of it ourselves."""
    wrk = shutil.which("wrk")

    def call(port: int, path: str, seconds: float) -> Load:
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
            script.write(WRK % BODY.decode())
            script.flush()
            command = child("load", core, port, path, seconds)
            if wrk:
                command = [wrk, "-t1", f"-c{CALLERS}", f"-d{seconds:g}s", "-s", script.name]
                command.append(f"http://{HOST}:{port}{path}")
            done = subprocess.run(
                command,
                stdout=subprocess.PIPE,
                timeout=seconds + 10,
                check=True,
                preexec_fn=lambda: os.sched_setaffinity(0, {core}),
            )
        return Load(**json.loads(done.stdout.splitlines()[-1]))

    return call


def measure() -> tuple[list[Load], list[Load]]:
    """Both ways by turns, so that a slow moment of the machine hits both."""
    cores = sorted(os.sched_getaffinity(0))
    mine, others = cores[0], cores[-1]
    call = generator(others)
    with started("upstream", others) as direct, started("proxy", mine, direct) as proxied:
        call(direct, "/invocations", 1)
        call(proxied, KEY.path, 1)
        rounds = [
            (call(direct, "/invocations", SECONDS), call(proxied, KEY.path, SECONDS))
            for _ in range(ROUNDS)
        ]
    return [one for one, _ in rounds], [one for _, one in rounds]


def middle(loads: list[Load]) -> Load:
    """The round in the middle by its rate."""
    return sorted(loads, key=lambda load: load.rate)[len(loads) // 2]


def table(direct: Load, proxied: Load) -> str:
    """The figures in Markdown."""
    tool = "wrk" if shutil.which("wrk") else "asyncio"
    return "\n".join(
        [
            f"One-row JSON bodies, {CALLERS} callers ({tool}), a trivial upstream; the proxy has one "
            f"core. The bar is {BAR:,} requests/s.",
            "",
            "| | requests/s | p50 ms | p99 ms |",
            "| --- | ---: | ---: | ---: |",
            *(
                f"| {name} | {load.rate:,.0f} | {load.p50:.2f} | {load.p99:.2f} |"
                for name, load in (("direct", direct), ("through the proxy", proxied))
            ),
            f"| ratio | {proxied.rate / direct.rate:.2f} | {proxied.p50 / direct.p50:.1f} "
            f"| {proxied.p99 / direct.p99:.1f} |",
        ]
    )


def write(figures: str) -> None:
    """Put the figures between their markers, at the end if there are none yet."""
    page = REPORT.read_text() if REPORT.exists() else ""
    if BEGIN not in page:
        page += f"\n## The proxy\n\n{BEGIN}\n{END}\n" if page else f"{BEGIN}\n{END}\n"
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    REPORT.write_text(f"{before}{BEGIN}\n{figures}\n{END}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail below the bar")
    parser.add_argument("--write", action="store_true", help=f"update {REPORT.name}")
    parser.add_argument("--role", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role:
        role, core, inherited, *more = arguments.role
        run_child(role, int(core), int(inherited), more)
        return
    direct_rounds, proxied_rounds = measure()
    direct, proxied = middle(direct_rounds), middle(proxied_rounds)
    figures = table(direct, proxied)
    print(figures)
    if arguments.write:
        write(figures)
    failed = sum(load.failed for load in (*direct_rounds, *proxied_rounds))
    if failed:
        sys.exit(f"{failed} calls failed")
    if arguments.check and proxied.rate < BAR:
        sys.exit(f"{proxied.rate:,.0f} requests/s is below the bar of {BAR:,}")


if __name__ == "__main__":
    main()
