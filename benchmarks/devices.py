"""Measures 2,000 devices on one controller: presence, a release, and what they do to predictions.

    python benchmarks/devices.py [--check] [--write] [--devices N]

The devices are simulated by two processes, over real sockets through the proxies: pings each 20 s, a
message each 60 s, and what an agent says of a release. One process falls silent in the middle, as devices
do whose line is cut: nobody closes their connections. Predictions of a served model come at a fixed rate,
with and without the devices by turns.
"""

import argparse
import os
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import report
from device_bench import CONNECTIONS, RATE, Bench, LoadProcess, Seen
from device_load import MESSAGE, PING, PROJECT
from report import REPORT, ROOT
from servers import controller, end_strays
from steady import median

sys.path.insert(0, str(ROOT))

from model_deployment.cli.demo import ensure_demo_model
from tests.support.waiting import until_sync

DEVICES, PROCESSES = 2000, 2
#: What p95 may become beside them, as a multiple.
BAR = 1.5
#: Seconds until presence has to be right: after a device was last heard, and what a look at all may take.
OFFLINE_BAR, SLACK = 60.0, 5.0
ROUNDS, SECONDS = 3, 10.0
#: Seconds after the last device has connected, which is no load of theirs that lasts.
SETTLE = 10.0
SECTION = """## Devices

Simulated devices that are connected to one controller, through its proxies. The ratio is the median of the
rounds' own ratios."""


@dataclass
class Found:
    """All figures."""

    devices: int
    without: list[Seen] = field(default_factory=list)
    beside: list[Seen] = field(default_factory=list)
    releasing: list[Seen] = field(default_factory=list)
    #: Seconds.
    registered: float = 0.0
    connected: list[float] = field(default_factory=list)
    offline: float = 0.0
    back: float = 0.0
    #: Until a release was complete, and until the last device ran it.
    released: list[float] = field(default_factory=list)
    reached: list[float] = field(default_factory=list)
    #: Bytes a device: of the controller, and of all proxies.
    memory: tuple[float, ...] = ()
    #: Bytes of files.
    downloaded: int = 0
    messages: int = 0

    def ratio(self, seen: Sequence[Seen]) -> float:
        """Of p95 to the window without devices of the same round; the median of the rounds."""
        pairs = zip(seen, self.without, strict=True)
        return statistics.median(one.p95 / before.p95 for one, before in pairs)


@contextmanager
def bench(devices: int, found: Found) -> Iterator[Bench]:
    """A controller whose devices are registered, and not connected."""
    with tempfile.TemporaryDirectory(prefix="devices-") as name, ExitStack() as stack:
        folder = Path(name)
        before, tempfile.tempdir = tempfile.tempdir, name
        try:
            registry = f"sqlite:///{folder / 'registry.db'}"
            made = ensure_demo_model(registry, registry, folder / "artifacts")
            assert made is not None, "a new registry has no models"
            settings = {"MODEL_DEPLOYMENT_PROXIES": str(PROCESSES)}
            with controller(registry, *made, {}, folder, settings) as server:
                it = Bench(server, *made)
                begun = time.monotonic()
                known = it.register(devices)
                found.registered = time.monotonic() - begun
                for place in range(PROCESSES):
                    load = LoadProcess(
                        server.port, known[place::PROCESSES], folder, f"devices-{place}"
                    )
                    stack.callback(load.end)
                    it.loads.append(load)
                yield it
        finally:
            tempfile.tempdir = before
            stack.close()
            end_strays(folder)


def measure(devices: int) -> Found:
    """With and without devices by turns; at last some fall silent."""
    found = Found(devices)
    with bench(devices, found) as it:
        it.window(2.0)
        for last in (False,) * (ROUNDS - 1) + (True,):
            it.server.settle()
            found.without.append(it.window(SECONDS))
            before = it.memory()
            it.all("connect")
            found.connected.append(it.until_online(devices, 90))
            time.sleep(SETTLE)
            found.beside.append(it.window(SECONDS))
            if not found.memory:
                found.memory = tuple(
                    (now - was) / devices for now, was in zip(it.memory(), before, strict=True)
                )
            release(it, found)
            if not last:
                it.all("leave")
        silence(it, found)
        states = it.all("state")
        found.messages = sum(one["sent"] for one in states)
        found.downloaded = sum(one["downloaded"] for one in states)
    return found


def release(it: Bench, found: Found) -> None:
    """Release a version to all devices, and ask for predictions meanwhile."""
    number = it.release()
    place = f"/{PROJECT}/releases/{number}"

    def state(wanted: str) -> bool:
        shown = it.get(place)
        assert shown["state"] not in ("failed", "stopped", "superseded"), shown["reason"]
        return bool(shown["state"] == wanted)

    # Its preparation tries the model once, which is no work of devices.
    until_sync(lambda: not state("preparing"), timeout=120, interval=0.1, what="the release")
    begun = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(
            lambda: (
                until_sync(lambda: state("complete"), timeout=120, interval=0.2, what=place)
                and time.monotonic()
            )
        )
        found.releasing.append(it.window(SECONDS))
        found.released.append(ended.result() - begun)

    def all_run() -> bool:
        running = sum((Counter(one["running"]) for one in it.all("state")), Counter[str]())
        assert running == {str(number): found.devices}, running
        return True

    until_sync(all_run, timeout=60, interval=0.5, what=f"all devices to run release {number}")
    found.reached.append(time.monotonic() - begun)


def silence(it: Bench, found: Found) -> None:
    """Stop a process: its connections stay, and nothing comes over them. Then let it go on."""
    quiet = found.devices // PROCESSES
    other = found.devices - quiet
    it.loads[0].process.send_signal(signal.SIGSTOP)
    begun = time.monotonic()

    def right() -> bool:
        seen = it.presences()
        if seen["online"] < other:
            raise RuntimeError(f"{other} devices are there, and {seen['online']} are online")
        return seen["online"] == other and seen["offline"] == quiet

    until_sync(right, timeout=120, interval=0.5, what=f"{quiet} devices to be offline")
    found.offline = time.monotonic() - begun
    it.loads[0].process.send_signal(signal.SIGCONT)
    found.back = it.until_online(found.devices, 120)


def table(found: Found) -> str:
    """The figures in Markdown."""
    rows = (("without devices", found.without), ("with devices", found.beside),
            ("while a release reaches them", found.releasing))  # fmt: skip
    controller_bytes, proxy_bytes = found.memory
    return "\n".join([
        f"{found.devices:,} devices in {PROCESSES} processes, with a lower priority, since they stand "
        f"for machines elsewhere; a ping each {PING:g} s and a message each {MESSAGE:g} s. {RATE} "
        f"predictions a second on {CONNECTIONS} connections, one row each, of the demo's model; "
        f"{PROCESSES} proxies; {os.cpu_count()} processors; medians of {ROUNDS} rounds of "
        f"{SECONDS:g} s each, by turns.",
        "",
        "| | p50 ms | p95 ms | p99 ms | ratio of p95 (at most) | controller, share of a core | proxies |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(
            f"| {name} | {median(seen, 'p50'):.2f} | {median(seen, 'p95'):.2f} "
            f"| {median(seen, 'p99'):.2f} | {found.ratio(seen):.2f}{bar} "
            f"| {median(seen, 'controller'):.0%} | {median(seen, 'proxies'):.0%} |"
            for (name, seen), bar in zip(rows, ("", f" ({BAR:g})", ""), strict=True)
        ),
        "",
        f"- They registered in {found.registered:.0f} s. Once all had connected, the controller said so "
        f"{statistics.median(found.connected):.1f} s later.",
        f"- A release in two stages was complete after {statistics.median(found.released):.1f} s, and all "
        f"devices ran it after {statistics.median(found.reached):.1f} s. {found.downloaded:,} bytes were "
        "loaded by every fiftieth.",
        f"- Half of them fell silent, with their connections open: after {found.offline:.0f} s they, and "
        f"only they, were offline (at most {OFFLINE_BAR + SLACK:g} s). {found.back:.1f} s after they could "
        "speak again all were online.",
        f"- Memory a device: {controller_bytes / 1024:.1f} KiB in the controller, "
        f"{proxy_bytes / 1024:.1f} KiB in the proxies. {found.messages:,} messages were stored.",
    ])  # fmt: skip


def misses(found: Found) -> list[str]:
    """The bars that are missed, in words."""
    missed = []
    if (ratio := found.ratio(found.beside)) > BAR:
        missed.append(f"p95 is {ratio:.2f} times what it is without devices; the bar is {BAR:g}")
    if found.offline > OFFLINE_BAR + SLACK:
        missed.append(f"silent devices were offline after {found.offline:.0f} s only")
    if failed := sum(one.failed for one in (*found.without, *found.beside, *found.releasing)):
        missed.append(f"{failed} predictions failed")
    return missed


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail where a bar is missed")
    parser.add_argument("--write", action="store_true", help=f"update {REPORT.name}")
    parser.add_argument("--devices", type=int, default=DEVICES)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))
    found = measure(arguments.devices)
    figures = table(found)
    print(figures)
    if arguments.write:
        report.write("devices", figures, SECTION)
    if arguments.check and (missed := misses(found)):
        sys.exit("; ".join(missed))


if __name__ == "__main__":
    main()
