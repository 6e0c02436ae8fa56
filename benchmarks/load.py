"""A load of small POST requests: wrk's, or for want of wrk our own.

    python benchmarks/load.py PORT PATH SECONDS CALLERS PATIENCE BODY AUTHORIZATION

Run as a program it is the one of our own: some callers who send again as soon as they are answered. BODY is
the file that they send.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop

HOST = "127.0.0.1"
CALLERS = 16
COLUMNS = ["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"]
ROW = [0.038, 0.05, 0.061, 0.021, -0.044, -0.034, -0.043, -0.002, 0.019, -0.017]


def split(rows: list[list[float]]) -> bytes:
    """Some rows, as MLflow wants them."""
    return json.dumps({"dataframe_split": {"columns": COLUMNS, "data": rows}}).encode()


def body(rows: int) -> bytes:
    """So many rows, each a little different from the last."""
    return split([[round(cell * (1 + row / 1000), 4) for cell in ROW] for row in range(rows)])


BODY = body(1)
PREDICTION = b'{"predictions": [206.11667725]}'

_LENGTH = re.compile(rb"\ncontent-length: *(\d+)", re.IGNORECASE)
_SCRIPT = """
wrk.method, wrk.body = "POST", '%s'
wrk.headers["Content-Type"] = "application/json"
%s
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


def put(
    port: int,
    path: str,
    seconds: float,
    *,
    core: int | None = None,
    callers: int = CALLERS,
    rows: int = 1,
    patience: int = 10,
    content: bytes = b"",
    authorization: str = "",
) -> Load:
    """Put a load on a server, from a process of its own.

    Args:
        port: where the server listens.
        path: what is called.
        seconds: how long the callers go on.
        core: the one core the process may use; None for any.
        callers: how many connections there are, each with one request at a time.
        rows: how many rows each request has.
        patience: seconds that an answer may take.
        content: the body that is sent, in place of rows.
        authorization: the header of this name, for a server that needs a password.
    """
    sent = content or body(rows)
    with tempfile.TemporaryDirectory() as folder:
        script, file = Path(folder, "script.lua"), Path(folder, "body")
        header = f'wrk.headers["Authorization"] = "{authorization}"' if authorization else ""
        script.write_text(_SCRIPT % (sent.decode(), header))
        file.write_bytes(sent)
        numbers = (seconds, callers, patience)
        command = [sys.executable, __file__, str(port), path, *map(str, numbers), str(file)]
        command.append(authorization)
        if wrk := shutil.which("wrk"):
            command = [wrk, "-t1", f"-c{callers}", f"-d{seconds:g}s", "--timeout", f"{patience}s"]
            command += ["-s", str(script), f"http://{HOST}:{port}{path}"]
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            timeout=seconds + patience + 10,
            check=True,
            preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
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
        head, _, content = self._seen.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if length is None or len(content) < int(length[1]):
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


async def _load(
    port: int,
    path: str,
    seconds: float,
    count: int,
    patience: int,
    content: bytes,
    authorization: str,
) -> Load:
    request = (
        f"POST {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Type: application/json\r\n"
        + (f"Authorization: {authorization}\r\n" if authorization else "")
        + f"Content-Length: {len(content)}\r\n\r\n"
    ).encode() + content
    latencies: list[float] = []
    begin = time.perf_counter()
    callers = [_Caller(request, begin + seconds, latencies) for _ in range(count)]
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(seconds + patience):
        for caller in callers:
            await loop.create_connection(lambda caller=caller: caller, HOST, port)  # type: ignore[misc]
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
    _, _port, _path, _seconds, _callers, _patience, _body, _authorization = sys.argv
    _numbers = (float(_seconds), int(_callers), int(_patience))
    _seen = uvloop.run(
        _load(int(_port), _path, *_numbers, Path(_body).read_bytes(), _authorization)
    )
    print(json.dumps(asdict(_seen)))
