"""Measures the proxy: processor time a request, beside the proxy of an earlier commit in the same run.

    python benchmarks/proxy.py [--against COMMIT] [--check] [--write]

The proxies have a core for themselves, one at a time; a trivial model server and the load share another.
Every request passes the gate, the check of a password and the counters, and is captured. Where requests
are merged, the model takes a millisecond for a call. The rounds of two proxies go by turns, and what is
compared with a bar is the median of the ratios of their pairs.
"""

import argparse
import base64
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import load
import psutil
import report
from load import HOST, Load
from proxy_process import PASSWORD, USER, Specification
from report import REPORT, ROOT

sys.path.insert(0, str(ROOT))

from model_deployment.core.names import ModelKey
from model_deployment.core.users import Role
from model_deployment.credentials.htpasswd import set_user

KEY = ModelKey("diabetes", 1)
#: The last commit whose proxy was an ASGI application in front of aiohttp.
BEFORE = "6707753"
#: The release before deployments had several launches.
RELEASE = "92bef9c"
#: Highest ratio to it of the processor time a request, and of one caller's median latency.
BAR, BAR_ALONE = 0.6, 1.0
#: Highest ratio of the processor time a request: of four proxies to one, of a hundred deployments to one.
BAR_FLAT = 1.1
#: Highest ratio to the release before, and of three launches to one.
BAR_RELEASE, BAR_LAUNCHES = 1.05, 1.1
PAIRS = 5
SECONDS = 2.0
CALLERS = 64
MERGED = 256
_AUTHORIZATION = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
_PROGRAM = Path(__file__).with_name("proxy_process.py")


@dataclass(frozen=True)
class Server:
    """One or more proxies with one listening socket."""

    port: int
    processes: Sequence[psutil.Process]

    def spent(self) -> float:
        """Seconds of processor time."""
        return sum(sum(process.cpu_times()[:2]) for process in self.processes)

    def measure(self, core: int, callers: int) -> "Seen":
        before = self.spent()
        seen = load.put(
            self.port, KEY.path, SECONDS, core=core, callers=callers, authorization=_AUTHORIZATION
        )
        return Seen(seen, self.spent() - before)


@dataclass(frozen=True)
class Seen:
    """One measurement of one server."""

    load: Load
    #: Seconds of processor time.
    spent: float

    @property
    def cost(self) -> float:
        """Microseconds of processor time a request."""
        return self.spent / self.load.answers * 1e6


@dataclass(frozen=True)
class Comparison:
    """Pairs of measurements, one of each server."""

    name: str
    unit: str
    pairs: list[tuple[float, float]]
    bar: float

    @property
    def ratio(self) -> float:
        return statistics.median(second / first for first, second in self.pairs)

    def row(self) -> str:
        first, second = (statistics.median(one) for one in zip(*self.pairs, strict=True))
        ratios = sorted(b / a for a, b in self.pairs)
        return (
            f"| {self.name} | {first:.0f} {self.unit} | {second:.0f} {self.unit} | {self.ratio:.2f} "
            f"({ratios[0]:.2f}-{ratios[-1]:.2f}) | {self.bar} |"
        )


@contextmanager
def started(
    role: str,
    core: int,
    upstream: int = 0,
    *,
    processes: int = 1,
    root: Path = ROOT,
    folder: Path | None = None,
    merged: int = 0,
    deployments: int = 1,
    targets: int = 1,
    thinks: bool = False,
) -> Iterator[Server]:
    """A server in processes of its own. The arguments are those of :class:`Specification`."""
    with ExitStack() as stack:
        with socket.create_server((HOST, 0), backlog=1024) as listener:
            port = listener.getsockname()[1]
            spec = Specification(
                root=str(root),
                listener=listener.fileno(),
                core=core,
                upstream=upstream,
                merged=merged,
                deployments=deployments,
                targets=targets,
                folder=str(folder or ""),
                thinks=thinks,
                shared=processes > 1,
            )
            started = [
                stack.enter_context(_process(role, spec, listener)) for _ in range(processes)
            ]
        yield Server(port, [psutil.Process(one.pid) for one in started])


@contextmanager
def _process(role: str, spec: Specification, listener: socket.socket) -> Iterator[subprocess.Popen]:  # type: ignore[type-arg]
    process = subprocess.Popen(
        [sys.executable, str(_PROGRAM), role, spec.arguments()],
        stdin=subprocess.PIPE,
        pass_fds=[listener.fileno()],
    )
    assert process.stdin is not None
    try:
        yield process
    finally:
        process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """The tree of a commit."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--detach", "--quiet", str(tree), commit], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def compare(first: Server, second: Server, core: int, callers: int) -> list[tuple[Seen, Seen]]:
    """Measure two servers by turns, so that a slow moment of the machine hits both.

    Args:
        callers: of each of their processes.
    """

    def one(server: Server) -> Seen:
        return server.measure(core, callers * len(server.processes))

    for server in (first, second):
        one(server)
    return [(one(first), one(second)) for _ in range(PAIRS)]


def costs(name: str, pairs: list[tuple[Seen, Seen]], bar: float, failed: list[str]) -> Comparison:
    lost = sum(one.load.failed + other.load.failed for one, other in pairs)
    if lost:
        failed.append(f"{name}: {lost} calls failed")
    return Comparison(name, "µs", [(one.cost, other.cost) for one, other in pairs], bar)


class Bench:
    """Compares proxies in front of one model server."""

    def __init__(self, folder: Path) -> None:
        cores = sorted(os.sched_getaffinity(0))
        self._mine, self._others = cores[0], cores[-1]
        self._folder = folder
        (folder / "credentials").mkdir()
        set_user(folder / "credentials", USER, PASSWORD, Role.OPERATOR, cost=4)
        self.failed: list[str] = []

    def against(self, commit: str) -> list[Comparison]:
        """This commit and another one."""
        found = []
        with checkout(commit) as tree:
            for name, merged in (("merged", MERGED), ("not merged", 0)):
                with self._servers([{"root": tree, "merged": merged}, {"merged": merged}]) as pair:
                    pairs = compare(*pair, self._others, CALLERS)
                    found.append(costs(f"{CALLERS} callers, {name}", pairs, BAR, self.failed))
                    alone = compare(*pair, self._others, 1)
                    latencies = [(a.load.p50 * 1e3, b.load.p50 * 1e3) for a, b in alone]
                    found.append(
                        Comparison(f"p50 of one caller, {name}", "µs", latencies, BAR_ALONE)
                    )
        return found

    def launches(self) -> list[Comparison]:
        """A deployment with one launch, in the release before and now; and one with three."""
        found = []
        with checkout(RELEASE) as tree:
            for name, merged in (("merged", MERGED), ("not merged", 0)):
                with self._servers([{"root": tree, "merged": merged}, {"merged": merged}]) as pair:
                    pairs = compare(*pair, self._others, CALLERS)
                    label = f"commit {RELEASE}, 1 launch now, {name}"
                    found.append(costs(label, pairs, BAR_RELEASE, self.failed))
        with self._servers([{}, {"targets": 3}]) as pair:
            pairs = compare(*pair, self._others, CALLERS)
        return [*found, costs("1 launch, 3 launches", pairs, BAR_LAUNCHES, self.failed)]

    def processes(self) -> list[Comparison]:
        """One proxy, and several that share a listening socket; each has as many callers."""
        found = []
        for count in (2, 4):
            with self._servers([{}, {"processes": count}]) as pair:
                pairs = compare(*pair, self._others, CALLERS)
            found.append(costs(f"1 proxy, {count} proxies", pairs, BAR_FLAT, self.failed))
        return found

    def deployments(self) -> list[Comparison]:
        """One deployment, and a hundred in the route table."""
        with self._servers([{}, {"deployments": 100}]) as pair:
            pairs = compare(*pair, self._others, CALLERS)
        return [costs("1 deployment, 100 deployments", pairs, BAR_FLAT, self.failed)]

    @contextmanager
    def _servers(self, both: list[dict[str, object]]) -> Iterator[list[Server]]:
        with ExitStack() as stack:
            thinks = any(one.get("merged") for one in both)
            upstream = stack.enter_context(started("upstream", self._others, thinks=thinks))
            yield [
                stack.enter_context(
                    started("proxy", self._mine, upstream.port, folder=self._folder, **one)  # type: ignore[arg-type]
                )
                for one in both
            ]
        for spool in self._folder.glob("spool-*"):
            shutil.rmtree(spool)


def table(found: list[Comparison], commit: str) -> str:
    """The figures in Markdown."""
    return "\n".join(
        [
            f"One-row JSON bodies ({load.tool()}), a trivial model server; processor time a request, or "
            f"the latency where it is named; medians of {PAIRS} pairs of rounds of {SECONDS:g} s. "
            f"First the proxy of commit {commit}, or the smaller number.",
            "",
            "| | first | second | ratio (range) | bar |",
            "| --- | ---: | ---: | ---: | ---: |",
            *(one.row() for one in found),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--against", default=BEFORE, metavar="COMMIT", help="default: %(default)s")
    parser.add_argument("--only", choices=["against", "launches", "processes", "deployments"])
    parser.add_argument("--check", action="store_true", help="fail above a bar")
    parser.add_argument("--write", action="store_true", help=f"update {REPORT.name}")
    arguments = parser.parse_args()
    found: list[Comparison] = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        if arguments.only in (None, "against"):
            found += bench.against(arguments.against)
        if arguments.only in (None, "launches"):
            found += bench.launches()
        if arguments.only in (None, "processes"):
            found += bench.processes()
        if arguments.only in (None, "deployments"):
            found += bench.deployments()
    figures = table(found, arguments.against)
    print(figures)
    if arguments.write and not arguments.only:
        report.write("proxy", figures, "## The proxy")
    if bench.failed:
        sys.exit("; ".join(bench.failed))
    above = [one.name for one in found if one.ratio > one.bar]
    if arguments.check and above:
        sys.exit(f"above the bar: {', '.join(above)}")


if __name__ == "__main__":
    main()
