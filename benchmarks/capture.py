"""Measures what captures cost: the proxy with and without them, side by side in one run.

    python benchmarks/capture.py [--check] [--write]

As in ``proxy.py`` the proxies have a core for themselves, one at a time; the upstream, the load and the
process that carries captures to the store share another one. One proxy has the embedded store, and one a
MongoDB that takes connections and never answers.
"""

import argparse
import asyncio
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import load
import proxy
import proxy_process
import psutil
import report
import uvloop
from load import CALLERS, HOST, Load
from proxy import KEY
from proxy_process import Specification
from report import REPORT, ROOT

sys.path.insert(0, str(ROOT))

from model_deployment.documents.connect import connect
from model_deployment.documents.opening import OpenedStore
from model_deployment.recording.count_report import CountReport
from model_deployment.recording.counters import RequestCounters
from model_deployment.recording.drain import DrainConfig, read_state
from model_deployment.recording.recorder import Recorder
from model_deployment.recording.reported_counts import ReportedCounts
from model_deployment.recording.spool import Spool
from model_deployment.recording.spool_upkeep import SpoolUpkeep
from model_deployment.recording.supervisor import Supervisor
from model_deployment.recording.upkeep import Upkeep
from model_deployment.recording.windows import TrafficWindows

#: Share of the proxied throughput that captures may cost.
BAR = 0.10
ROUNDS = 5
SECONDS = 3
PLAIN, EMBEDDED, BLACK_HOLE = "without captures", "with captures", "the store black-holed"
_DRAIN = "model_deployment.recording.drain"


@dataclass(frozen=True)
class Seen:
    """One measurement of one proxy."""

    load: Load
    #: Seconds of processor time: of the proxy, and of the process that carries captures.
    spent: float
    drained: float


@dataclass(frozen=True)
class Server:
    """A proxy in a process of its own."""

    port: int
    process: psutil.Process
    spool: Path

    def spent(self) -> float:
        return sum(self.process.cpu_times()[:2])

    def drained(self) -> float:
        return sum(sum(child.cpu_times()[:2]) for child in self.process.children())

    def measure(self, core: int) -> Seen:
        before, drained = self.spent(), self.drained()
        seen = load.put(self.port, KEY.path, SECONDS, core=core)
        return Seen(seen, self.spent() - before, self.drained() - drained)

    def settle(self, captures: int, seconds: float = 120) -> None:
        """Wait until so many captures are in the store."""
        end = time.monotonic() + seconds
        while (written := read_state(self.spool).written) < captures:
            if time.monotonic() > end:
                raise TimeoutError(f"{written} of {captures} captures are in the store")
            time.sleep(0.1)


async def _report(report: CountReport, counts: ReportedCounts) -> None:
    """As a proxy reports to its controller."""
    while True:
        counts.apply("benchmark", report.changes(time.time()))
        await asyncio.sleep(0.2)


async def serve(listener: socket.socket, port: int, core: int, folder: Path, url: str) -> None:
    """Serve the proxy as ``server.serve`` does, and capture unless there is no store."""
    recorder: Recorder | None = None
    work: list[asyncio.Task[Any]] = []
    spool = Spool(folder, max_bytes=1024**3)
    if url:
        spool.open()
        traffic, counters = TrafficWindows("benchmark"), RequestCounters()
        recorder = Recorder(spool, traffic, counters)
        report = CountReport(counters, traffic, lambda: spool.dropped)
        counts = ReportedCounts()
        upkeep = Upkeep(
            folder, counts, OpenedStore(connect(url)), lambda _, stored: report.stored(stored)
        )
        config = DrainConfig(str(folder), url, 3600.0, 1024**2, "salt")
        child = Supervisor(
            "drain", _DRAIN, asdict(config), instance=f"benchmark-{os.getpid()}",
            log=folder / "drain.log", environment={"PATH": os.defpath, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        work = [asyncio.create_task(one.run()) for one in (SpoolUpkeep(spool), upkeep, child)]
        work.append(asyncio.create_task(_report(report, counts)))
        while child.pid is None:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
        os.sched_setaffinity(child.pid, {max(os.sched_getaffinity(0))})
    os.sched_setaffinity(0, {core})
    spec = Specification(str(ROOT), listener.fileno(), core, port)
    await proxy_process.proxy(spec, listener, recorder)
    for task in work:
        task.cancel()
    await asyncio.gather(*work, return_exceptions=True)
    if url:
        await child.end(keep=False)
    spool.close()


@contextmanager
def started(core: int, upstream: int, spool: Path, url: str) -> Iterator[Server]:
    """A proxy, and whether it captures."""
    with socket.create_server((HOST, 0), backlog=128) as listener:
        arguments = [str(listener.fileno()), str(upstream), str(core), str(spool), url]
        process = subprocess.Popen(
            # The process that carries captures is found from wherever this is run.
            ["env", f"PYTHONPATH={ROOT}", sys.executable, __file__, "--child", *arguments],
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno()],
        )
        listening = listener.getsockname()[1]
    assert process.stdin is not None
    try:
        yield Server(listening, psutil.Process(process.pid), spool)
    finally:
        process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=15)
        process.kill()
        process.wait()


def measure() -> dict[str, list[Seen]]:
    """All ways by turns, so that a slow moment of the machine hits all."""
    cores = sorted(os.sched_getaffinity(0))
    mine, others = cores[0], cores[-1]
    rounds: dict[str, list[Seen]] = {PLAIN: [], EMBEDDED: [], BLACK_HOLE: []}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="capture-")))
        hole = stack.enter_context(socket.create_server((HOST, 0)))
        urls = {
            PLAIN: "",
            EMBEDDED: f"sqlite:{folder / 'documents.db'}",
            BLACK_HOLE: f"mongodb://{HOST}:{hole.getsockname()[1]}/benchmark",
        }
        upstream = stack.enter_context(proxy.started("upstream", others)).port
        servers = {
            name: stack.enter_context(started(mine, upstream, folder / f"spool-{number}", url))
            for number, (name, url) in enumerate(urls.items())
        }
        captures = 0
        for server in servers.values():
            warm = load.put(server.port, KEY.path, 1, core=others)
            captures += warm.answers if server is servers[EMBEDDED] else 0
        for number in range(ROUNDS):
            # Not always the same one after the same other one.
            names = [*rounds][number % 3 :] + [*rounds][: number % 3]
            for name in names:
                rounds[name].append(servers[name].measure(others))
                if name == EMBEDDED:
                    captures += rounds[name][-1].load.answers
                    # The backlog is not worked off at the expense of the next one.
                    servers[name].settle(captures)
    return rounds


def rate(rounds: list[Seen]) -> float:
    """The best: other programs on the machine can only make it slower."""
    return max(one.load.rate for one in rounds)


def per_request(rounds: list[Seen]) -> float:
    """Microseconds of the proxy's processor time, at best."""
    return min(one.spent / one.load.answers for one in rounds) * 1e6


def cost(rounds: dict[str, list[Seen]]) -> float:
    """Share of the requests that one core is good for."""
    return 1 - per_request(rounds[PLAIN]) / per_request(rounds[EMBEDDED])


def table(rounds: dict[str, list[Seen]]) -> str:
    """The figures in Markdown."""

    def p99(name: str) -> float:
        return statistics.median(one.load.p99 for one in rounds[name])

    seen = rounds[EMBEDDED]
    drained = statistics.median(one.drained / one.load.answers for one in seen) * 1e6
    away = p99(BLACK_HOLE) / p99(EMBEDDED) - 1
    each = [
        one.load.p99 / other.load.p99 - 1
        for one, other in zip(rounds[BLACK_HOLE], seen, strict=True)
    ]
    return "\n".join(
        [
            f"One-row JSON bodies from {CALLERS} callers ({load.tool()}), a trivial upstream, every "
            f"answer captured; {ROUNDS} rounds of {SECONDS} s each, by turns. Requests and processor "
            "time are those of the best round, latencies medians.",
            "",
            "| | requests/s | p50 ms | p99 ms | proxy's µs per request |",
            "| --- | ---: | ---: | ---: | ---: |",
            *(
                f"| {name} | {rate(rounds[name]):,.0f} "
                f"| {statistics.median(one.load.p50 for one in rounds[name]):.2f} "
                f"| {p99(name):.2f} | {per_request(rounds[name]):.0f} |"
                for name in rounds
            ),
            "",
            f"Captures cost {cost(rounds):.1%} of what one core is good for; the bar is {BAR:.0%}. "
            f"Of the requests/s measured they cost {1 - rate(seen) / rate(rounds[PLAIN]):.1%}: the load "
            "and the upstream share their core with the process that carries captures to the store, "
            f"which takes {drained:.0f} µs for each request in the meantime, at low priority.",
            "",
            f"With the store black-holed, p99 is {away:+.1%} of that with the embedded store at work "
            f"(single rounds {min(each):+.0%} to {max(each):+.0%}).",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail above the bar")
    parser.add_argument("--write", action="store_true", help=f"update {REPORT.name}")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        descriptor, port, core, folder, url = arguments.child
        listener = socket.socket(fileno=int(descriptor))
        uvloop.run(serve(listener, int(port), int(core), Path(folder), url))
        return
    rounds = measure()
    figures = table(rounds)
    print(figures)
    if arguments.write:
        report.write("captures", figures, "## Captures")
    if failed := sum(one.load.failed for seen in rounds.values() for one in seen):
        sys.exit(f"{failed} calls failed")
    if arguments.check and cost(rounds) > BAR:
        sys.exit(f"captures cost {cost(rounds):.1%}, and {BAR:.0%} is the bar")


if __name__ == "__main__":
    main()
