"""A load of small POST requests: wrk's, or for want of wrk our own.

    python benchmarks/load.py PORT PATH SECONDS

Run as a program it is the one of our own: some callers who send again as soon as they are answered.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass

import uvloop

HOST = "127.0.0.1"
CALLERS = 16
COLUMNS = ["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"]
ROW = [0.038, 0.05, 0.061, 0.021, -0.044, -0.034, -0.043, -0.002, 0.019, -0.017]
#: One row, as MLflow wants it.
BODY = json.dumps({"dataframe_split": {"columns": COLUMNS, "data": [ROW]}}).encode()
PREDICTION = b'{"predictions": [206.11667725]}'

_SCRIPT = """
wrk.method, wrk.body = "POST", '%s'
wrk.headers["Content-Type"] = "application/json"
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\n{"answers": %%d, "seconds": %%f, "p50": %%f, "p99": %%f, "failed": %%d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True)
class Load:
    """What the callers saw; latencies in milliseconds."""

    answers: int
    seconds: float
    p50: float
    p99: float
    failed: int

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.answers / self.seconds


def tool() -> str:
    """What makes the load."""
    return "wrk" if shutil.which("wrk") else "asyncio"


def put(port: int, path: str, seconds: float, *, core: int) -> Load:
    """Put a load on a server, from a process on one core."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_SCRIPT % BODY.decode())
        script.flush()
        command = [sys.executable, __file__, str(port), path, str(seconds)]
        if wrk := shutil.which("wrk"):
            command = [wrk, "-t1", f"-c{CALLERS}", f"-d{seconds:g}s", "--timeout", "10s"]
            command += ["-s", script.name, f"http://{HOST}:{port}{path}"]
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            timeout=seconds + 10,
            check=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
    return Load(**json.loads(done.stdout.splitlines()[-1]))


class _Caller(asyncio.Protocol):
    """Sends a request, again and again."""

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


async def _load(port: int, path: str, seconds: float) -> Load:
    request = (
        f"POST {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(BODY)}\r\n\r\n"
    ).encode() + BODY
    latencies: list[float] = []
    begin = time.perf_counter()
    callers = [_Caller(request, begin + seconds, latencies) for _ in range(CALLERS)]
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(seconds + 5):
        for caller in callers:
            await loop.create_connection(lambda caller=caller: caller, HOST, port)
        await asyncio.gather(*(caller.over for caller in callers))
    latencies.sort()
    return Load(
        answers=len(latencies),
        seconds=time.perf_counter() - begin,
        p50=latencies[len(latencies) // 2] * 1e3,
        p99=latencies[len(latencies) * 99 // 100] * 1e3,
        failed=sum(caller.failed for caller in callers),
    )


if __name__ == "__main__":
    _, _port, _path, _seconds = sys.argv
    print(json.dumps(asdict(uvloop.run(_load(int(_port), _path, float(_seconds))))))
