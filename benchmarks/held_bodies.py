"""Measures what 500 callers do that send all but the last byte of a body: memory, and what others notice.

    python benchmarks/held_bodies.py [--check] [--write] [--proxies N] [--callers N] [--path PATH ...]

A controller with stub models. The callers send 10 MB each, to the API and to a model, hold the last byte,
and come again as soon as they are told to. Beside them somebody asks another model at a fixed rate: while
they are not there; while they call a server that does nothing but refuse them, since so many take the
processors of this machine as well; and while they call the controller.

The memory is that of the controller and its proxies, shared pages divided among them (PSS). It is read
before and after: to read it the kernel holds up whoever takes memory. What it was at most is that before,
and what the kernel saw each process have more.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import report
import steady
import uvloop
from load import HOST
from report import REPORT, ROOT
from servers import free_ports
from steady import median

sys.path.insert(0, str(ROOT))

from tests.support.filled_registry import fill
from tests.support.harness import Controller

MB = 1024 * 1024
CALLERS, SIZE = 500, 10_000_000
PATHS = ["/model/stub-1/feedback", "/deploy/stub/2", "/slow-1"]
#: Megabytes that all processes may take more meanwhile.
MORE = 400
#: What p99 may become, as a multiple of what it is while the callers are busy with another server.
BAR = 2.0
#: Megabytes that they may have kept a while after.
KEPT = 100
#: Where the callers are.
NOWHERE, ELSEWHERE, HERE = PLACES = ("nowhere", "at another server", "at the controller")
RATE, CONNECTIONS = 50, 10
ROUNDS, SECONDS = 2, 10.0
#: Seconds after which memory is to be given back.
AFTER = 12.0
BODY = b'{"instances": [1]}'
REQUEST = (
    b"POST /stub-1 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)


@dataclass(frozen=True)
class Seen:
    """One round; latencies in milliseconds, memory in megabytes."""

    p50: float
    p99: float
    failed: int
    #: What all processes had more at most.
    more: float


async def hold(port: int, callers: int, paths: list[str]) -> None:
    """Be the callers, until standard input ends; then say what was answered."""
    loop = asyncio.get_running_loop()
    piece = bytes(256 * 1024)
    answers: Counter[str] = Counter()

    async def call(number: int) -> None:
        head = (
            f"POST {paths[number % len(paths)]} HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: application/json\r\nContent-Length: {SIZE}\r\n\r\n"
        )
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            answer = asyncio.ensure_future(reader.readuntil(b"\r\n\r\n"))
            writer.write(head.encode())
            left = SIZE - 1
            while left and not answer.done():
                writer.write(piece[: min(left, len(piece))])
                left -= min(left, len(piece))
                drained = asyncio.ensure_future(writer.drain())
                await asyncio.wait({drained, answer}, return_when=asyncio.FIRST_COMPLETED)
                drained.cancel()
            answers[(await answer)[9:12].decode()] += 1
        finally:
            writer.close()

    async def go_on(number: int) -> None:
        await asyncio.sleep(number / callers * 2)
        while True:
            try:
                await call(number)
            except (OSError, RuntimeError, asyncio.IncompleteReadError):
                answers["broken"] += 1
            await asyncio.sleep(2)

    tasks = [asyncio.create_task(go_on(number)) for number in range(callers)]
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()
    for task in tasks:
        task.cancel()
    print(dict(answers), flush=True)


async def refuse_all(port: int) -> None:
    """Be a server that refuses whatever comes, and reads the rest of it, until standard input ends."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n")
            while await reader.read(256 * 1024):
                pass
        writer.close()

    server = await asyncio.start_server(refuse, HOST, port, backlog=1024)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    async with server:
        await ended.wait()


@contextmanager
def child(*arguments: str) -> Iterator[None]:
    """This program in another part."""
    process = subprocess.Popen([sys.executable, __file__, *arguments], stdin=subprocess.PIPE)
    assert process.stdin is not None
    try:
        time.sleep(4)
        yield
        process.stdin.close()
        process.wait(20)
    finally:
        process.kill()
        process.wait()


@contextmanager
def calling(where: str, port: int, callers: int, paths: list[str]) -> Iterator[None]:
    """The callers are at one of the places."""
    with ExitStack() as stack:
        if where == ELSEWHERE:
            [port] = free_ports(1)
            stack.enter_context(child("--refuse", str(port)))
        if where != NOWHERE:
            stack.enter_context(child("--hold", str(port), str(callers), *paths))
        yield


def front(pid: int) -> list[psutil.Process]:
    """The controller and its proxies."""
    controller = psutil.Process(pid)
    found = [controller]
    for one in controller.children(recursive=True):
        with suppress(psutil.Error):
            if "model_deployment.proxy" in one.cmdline():
                found.append(one)
    return found


def memory(pid: int) -> float:
    """Megabytes of the front."""
    return sum(one.memory_full_info().pss for one in front(pid)) / MB


@dataclass
class Peak:
    """The most memory that each process of the front has had, from now on (proc_pid_status(5), VmHWM)."""

    before: dict[int, int]

    @classmethod
    def of(cls, pid: int) -> "Peak":
        before = {}
        for one in front(pid):
            Path(f"/proc/{one.pid}/clear_refs").write_text("5")
            before[one.pid] = one.memory_info().rss
        return cls(before)

    def more(self) -> float:
        """Megabytes that they had more at most; each at another time, perhaps."""
        return sum(_peak(pid) - before for pid, before in self.before.items()) / MB


def _peak(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"process {pid} has no peak of its memory")


async def load(port: int, peak: Peak, seconds: float) -> Seen:
    latencies, failed = await steady.calls(
        port, REQUEST, seconds, rate=RATE, connections=CONNECTIONS
    )
    latencies.sort()
    p99 = latencies[len(latencies) * 99 // 100]
    return Seen(statistics.median(latencies), p99, failed, peak.more())


def measure(
    proxies: int, callers: int, paths: list[str]
) -> tuple[dict[str, list[Seen]], float, float]:
    """With the callers at each place by turns; the memory before, and a while after."""
    seen: dict[str, list[Seen]] = {where: [] for where in PLACES}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder)
        it = Controller(folder, f"sqlite:///{folder / 'mlflow.db'}", PROXIES=proxies)
        try:
            it.up()
            it.deploy("stub-1")
            it.deploy("slow-1")
            uvloop.run(load(it.port, Peak.of(it.pid), 3))
            before = memory(it.pid)
            for where in PLACES * ROUNDS:
                peak = Peak.of(it.pid)
                with calling(where, it.port, callers, paths):
                    seen[where].append(uvloop.run(load(it.port, peak, SECONDS)))
                time.sleep(AFTER if where == HERE else 0)
            after = memory(it.pid)
        finally:
            if it.running:
                it.terminate()
    return seen, before, after


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail above the bars")
    parser.add_argument("--write", action="store_true", help=f"update {REPORT.name}")
    parser.add_argument("--proxies", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--callers", type=int, default=CALLERS)
    parser.add_argument("--path", nargs="+", default=PATHS)
    parser.add_argument("--hold", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--refuse", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.refuse:
        uvloop.run(refuse_all(arguments.refuse))
        return
    if arguments.hold:
        port, callers, *paths = arguments.hold
        uvloop.run(hold(int(port), int(callers), paths))
        return
    lines = [
        f"{RATE} predictions a second beside {arguments.callers} callers that send all but the last byte "
        f"of {SIZE:,} bytes to {', '.join(arguments.path)} and come again when refused; medians of "
        f"{ROUNDS} rounds of {SECONDS:g} s each, by turns. Memory is that of controller and proxies (PSS).",
        "",
        f"| proxies | {' | '.join(f'p50, p99 ms, {where}' for where in PLACES)} | MB before | MB at most | "
        "MB after |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    missed = []
    for proxies in arguments.proxies:
        seen, before, after = measure(proxies, arguments.callers, arguments.path)
        most = before + max(one.more for one in seen[HERE])
        p99 = {where: median(rounds, "p99") for where, rounds in seen.items()}
        both = " | ".join(f"{median(seen[one], 'p50'):.2f}, {p99[one]:.2f}" for one in PLACES)
        lines.append(f"| {proxies} | {both} | {before:.0f} | {most:.0f} | {after:.0f} |")
        if most - before > MORE:
            missed.append(f"{proxies} proxies: {most - before:.0f} MB more, above {MORE}")
        if after - before > KEPT:
            missed.append(f"{proxies} proxies: {after - before:.0f} MB are kept, above {KEPT}")
        if p99[HERE] > BAR * p99[ELSEWHERE]:
            times = p99[HERE] / p99[ELSEWHERE]
            missed.append(f"{proxies} proxies: p99 is {times:.1f} times as long, above {BAR:g}")
        if failed := sum(one.failed for rounds in seen.values() for one in rounds):
            missed.append(f"{proxies} proxies: {failed} predictions failed")
    print("\n".join(lines))
    if arguments.write:
        report.write("held", "\n".join(lines), "## Callers that hold their bodies back")
    if missed:
        print("\n".join(missed), file=sys.stderr)
        sys.exit(1 if arguments.check else 0)


if __name__ == "__main__":
    main()
