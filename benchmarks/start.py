"""Measures starting: forks of the warm parent beside ``mlflow models serve``.

    python benchmarks/start.py [--check] [--write] [--models N] [--seconds N]

Time until a model answers its health check, and memory with 1, 10 and 100 models (``mlflow models serve``
only up to 10), started through the runtime that the controller uses. Then one row at a time: through the
controller's proxy to a fork, and to ``mlflow models serve`` directly, by turns in the same run.
"""

import argparse
import asyncio
import itertools
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import aiohttp
import load
import psutil
import report
from load import HOST, Load
from report import REPORT, ROOT
from servers import controller, direct, end_strays, free_ports
from start_figures import AT_ONCE, COUNTS, ROUNDS, Kind, Many, OneRow, chart, short_of, table

sys.path.insert(0, str(ROOT))

from model_deployment.cli.demo import ensure_demo_model
from model_deployment.core.domain import Address, Handle, LaunchSpec
from model_deployment.core.names import ModelKey
from model_deployment.core.options import EnvManager, Options
from model_deployment.runtime.forkserver import ForkSettings, ForkStarter
from model_deployment.runtime.launch_memory import measure
from model_deployment.runtime.local import LocalRuntime
from model_deployment.runtime.mlflow_serve import ServeStarter, mlflow_command
from model_deployment.runtime.parent_process import ParentProcess
from model_deployment.runtime.parents import Parents
from model_deployment.settings import Settings

#: More of ``mlflow models serve`` than this is only a matter of patience.
SERVED = 10
#: Starts of each kind that are timed by themselves.
STARTS = 10
SECONDS, WARM_UP, PATIENCE = 5.0, 1.0, 30
SECTION = """## Starting: forks against `mlflow models serve`

A fork of a parent that has imported MLflow, pandas and scikit-learn shares that memory with it, and has
nothing to import. Memory is the proportional set size (PSS) of all processes, the parent included."""


class Bench:
    """A runtime in a folder of its own, and what it has started."""

    def __init__(self, folder: Path, model: Path, *, forks: bool) -> None:
        self._model = model
        self._instance = f"start-{folder.name}"
        self._handles: list[Handle] = []
        self._numbers = itertools.count(1)
        environment = Settings().model_environment
        program = ParentProcess(
            folder / "worker",
            folder / "worker.log",
            Settings().preload,
            environment(EnvManager.LOCAL),
        )
        self._forks = ForkStarter(
            ForkSettings(self._instance, folder, folder, environment, 60.0), program, lambda: None
        )
        self._has_forks = forks
        self._runtime = LocalRuntime(
            instance=self._instance,
            serve=ServeStarter(
                instance=self._instance,
                logs=folder,
                work=folder,
                command=mlflow_command(60.0),
                environment=environment,
            ),
            parents=Parents(self._forks) if forks else None,
            add_event=lambda key, text: sys.exit(text),
        )

    async def parent(self) -> int:
        """The pid of the warm parent, 0 without one."""
        if not self._has_forks:
            return 0
        await self._forks.ready()
        return self._forks.parent_pid

    async def start(self) -> float:
        """Start a model; seconds until it answers."""
        number = next(self._numbers)
        address = Address(HOST, free_ports(1)[0])
        spec = LaunchSpec(
            f"start{number}",
            ModelKey("diabetes", number),
            str(self._model),
            address,
            Options(),
        )
        begin = time.perf_counter()
        handle = await self._runtime.start(spec)
        self._handles.append(handle)
        async with aiohttp.ClientSession() as session:
            while True:
                with suppress(aiohttp.ClientError):
                    async with session.get(f"{address.url}/ping") as answer:
                        if answer.status == 200:
                            return time.perf_counter() - begin
                await asyncio.sleep(0.01)

    async def many(self, count: int) -> Many:
        """Start that many at most so many at once, and look at their memory."""
        turns, begin = asyncio.Semaphore(AT_ONCE), time.perf_counter()

        async def one() -> None:
            async with turns:
                await self.start()

        await asyncio.gather(*(one() for _ in range(count)))
        seconds = time.perf_counter() - begin
        return Many(count, seconds, self._pss(await self.parent()))

    def _pss(self, parent: int) -> int:
        own = psutil.Process(parent).memory_full_info().pss if parent else 0
        return own + sum(one.pss or 0 for one in measure(self._instance, self._handles).values())

    async def clear(self) -> None:
        """End all models."""
        for handle in self._handles:
            await self._runtime.stop(handle, force=True)
        for handle in self._handles:
            while await self._runtime.poll(handle) is None:  # noqa: ASYNC110 - that is how it is asked
                await asyncio.sleep(0.01)
            await self._runtime.release(handle.address)
        self._handles.clear()

    async def close(self) -> None:
        await self.clear()
        await self._runtime.close()


async def kind(name: str, model: Path, folder: Path, most: int) -> Kind:
    """Measure one way."""
    bench = Bench(folder, model, forks=name == "forkserver")
    try:
        await bench.parent()
        starts = STARTS if most > SERVED else STARTS // 3
        ready = [await bench.start() for _ in range(starts)]
        await bench.clear()
        many = []
        for count in COUNTS:
            if count <= most:
                many.append(await bench.many(count))
                print(f"{name}: {many[-1]}", file=sys.stderr)
                await bench.clear()
        return Kind(name, ready, many)
    finally:
        await bench.close()


def one_row(
    registry: str, made: tuple[str, int], model: Path, folder: Path, seconds: float
) -> OneRow:
    """By turns, so that a slow moment of the machine hits both."""
    with ExitStack() as stack:
        one = stack.enter_context(direct(model, folder))
        other = stack.enter_context(controller(registry, *made, {}, folder))

        def put(way: "Callable[[float], Load]") -> Load:
            way(WARM_UP)
            return way(seconds)

        rounds: list[tuple[Load, ...]] = []
        for _ in range(ROUNDS):
            rounds.append(
                tuple(
                    put(
                        lambda length, at=server: load.put(  # type: ignore[misc]
                            at.port, at.path, length, callers=1, patience=PATIENCE
                        )
                    )
                    for server in (one, other)
                )
            )
            print(f"one row: {[round(seen.p50, 2) for seen in rounds[-1]]} ms", file=sys.stderr)
    best = [min((each[way] for each in rounds), key=lambda seen: seen.p50) for way in (0, 1)]
    return OneRow(*best)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail below a bar")
    parser.add_argument("--write", action="store_true", help=f"update {REPORT.name} and the chart")
    parser.add_argument("--models", type=int, default=COUNTS[-1], help="at most so many")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of one measurement")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))
    with tempfile.TemporaryDirectory(prefix="start-") as name:
        folder = Path(name)
        before, tempfile.tempdir = tempfile.tempdir, name
        try:
            registry = f"sqlite:///{folder / 'registry.db'}"
            made = ensure_demo_model(registry, registry, folder / "artifacts")
            assert made is not None, "a new registry has no models"
            [model] = (found.parent for found in (folder / "artifacts").rglob("MLmodel"))
            (folder / "serve").mkdir()
            (folder / "fork").mkdir()
            kinds = [
                asyncio.run(kind("serve", model, folder / "serve", min(SERVED, arguments.models))),
                asyncio.run(kind("forkserver", model, folder / "fork", arguments.models)),
            ]
            row = one_row(registry, made, model, folder, arguments.seconds)
        finally:
            tempfile.tempdir = before
            end_strays(folder)
    figures = table(kinds, row)
    print(figures)
    if arguments.write:
        report.write("start", figures, SECTION)
        chart(kinds)
    if arguments.check and (missed := short_of(kinds, row)):
        sys.exit("; ".join(missed))


if __name__ == "__main__":
    main()
