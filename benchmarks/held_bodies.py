"""Measures what 500 callers do that send all but the last byte of a body: memory, and what others notice.

    python benchmarks/held_bodies.py [--check] [--write] [--proxies N] [--callers N] [--path PATH ...]

A controller with stub models. The callers send 10 MB each, to the API and to a model, hold the last byte,
and come again as soon as they are told to. Beside them somebody asks another model at a fixed rate. The
memory is that of the controller and its proxies, shared pages divided among them (PSS).
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
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import report
import steady
import uvloop
from load import HOST
from report import REPORT, ROOT
from steady import median

sys.path.insert(0, str(ROOT))

from tests.support.filled_registry import fill
from tests.support.harness import Controller

MB = 1024 * 1024
CALLERS, SIZE = 500, 10_000_000
PATHS = ["/model/stub-1/feedback", "/deploy/stub/2", "/slow-1"]
#: Megabytes that all processes may take more meanwhile, and what p99 may become, as a multiple.
MORE, BAR = 400, 2.0
#: Megabytes that they may have kept a while after.
KEPT = 100
RATE, CONNECTIONS = 50, 10
ROUNDS, SECONDS = 1, 10.0
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
    #: The most that it was.
    memory: float


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


@contextmanager
def beside(port: int, callers: int, paths: list[str]) -> Iterator[None]:
    arguments = [str(port), str(callers), *paths]
    process = subprocess.Popen(
        [sys.executable, __file__, "--hold", *arguments], stdin=subprocess.PIPE
    )
    assert process.stdin is not None
    try:
        time.sleep(4)
        yield
        process.stdin.close()
        process.wait(20)
    finally:
        process.kill()
        process.wait()


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


async def load(port: int, pid: int, seconds: float) -> Seen:
    most = 0.0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, await asyncio.to_thread(memory, pid))
            await asyncio.sleep(0.5)

    watching = asyncio.create_task(watch())
    latencies, failed = await steady.calls(
        port, REQUEST, seconds, rate=RATE, connections=CONNECTIONS
    )
    watching.cancel()
    latencies.sort()
    p99 = latencies[len(latencies) * 99 // 100]
    return Seen(statistics.median(latencies), p99, failed, most)


def measure(
    proxies: int, callers: int, paths: list[str]
) -> tuple[dict[bool, list[Seen]], float, float]:
    """Without and with them by turns; the memory before, and a while after."""
    seen: dict[bool, list[Seen]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder)
        it = Controller(folder, f"sqlite:///{folder / 'mlflow.db'}", PROXIES=proxies)
        try:
            it.up()
            it.deploy("stub-1")
            it.deploy("slow-1")
            uvloop.run(load(it.port, it.pid, 3))
            before = memory(it.pid)
            for number in range(2 * ROUNDS):
                held = bool(number % 2)
                with beside(it.port, callers, paths) if held else nullcontext():
                    seen[held].append(uvloop.run(load(it.port, it.pid, SECONDS)))
                time.sleep(AFTER if held else 0)
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
    arguments = parser.parse_args()
    if arguments.hold:
        port, callers, *paths = arguments.hold
        uvloop.run(hold(int(port), int(callers), paths))
        return
    lines = [
        f"{RATE} predictions a second beside {arguments.callers} callers that send all but the last byte "
        f"of {SIZE:,} bytes to {', '.join(arguments.path)} and come again when refused; medians of "
        f"{ROUNDS} rounds of {SECONDS:g} s each, by turns. Memory is that of controller and proxies (PSS).",
        "",
        "| proxies | p50 ms | p99 ms | p50 ms beside | p99 ms beside | MB before | MB at most | MB after |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    missed = []
    for proxies in arguments.proxies:
        seen, before, after = measure(proxies, arguments.callers, arguments.path)
        most = max(one.memory for one in seen[True])
        alone, held = ([median(seen[which], p) for p in ("p50", "p99")] for which in (False, True))
        figures = [*alone, *held]
        lines.append(
            f"| {proxies} | {' | '.join(f'{one:.2f}' for one in figures)} | {before:.0f} | {most:.0f} | "
            f"{after:.0f} |"
        )
        if most - before > MORE:
            missed.append(f"{proxies} proxies: {most - before:.0f} MB more, above {MORE}")
        if after - before > KEPT:
            missed.append(f"{proxies} proxies: {after - before:.0f} MB are kept, above {KEPT}")
        if held[1] > BAR * alone[1]:
            missed.append(f"{proxies} proxies: p99 is {held[1] / alone[1]:.1f} times as long")
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
