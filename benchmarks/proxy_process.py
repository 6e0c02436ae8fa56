"""One proxy, or the trivial model server behind it, as a process of a benchmark.

    python benchmarks/proxy_process.py ROLE SPECIFICATION

It imports the package of the checkout that the specification names, of this commit or of another one.
"""

import asyncio
import contextlib
import fcntl
import gc
import importlib
import json
import os
import re
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
import uvicorn
import uvloop
from load import COLUMNS, HOST

#: Name and password of the caller.
USER, PASSWORD = "bench", "a password of nobody"
#: Seconds that a merged call of the model takes: as long as a small model of scikit-learn needs.
_PREDICTING = 0.001
_LENGTH = re.compile(rb"\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Specification:
    """What to run."""

    #: The checkout whose package is imported.
    root: str
    #: Descriptor of the listening socket.
    listener: int
    core: int
    #: Port of the model server; for a proxy only.
    upstream: int = 0
    #: ``batch_max_rows``; 0 does not merge.
    merged: int = 0
    #: Deployments in the route table.
    deployments: int = 1
    #: Launches of each deployment, where a commit can have several; all are the same model server.
    targets: int = 1
    #: Folder for captures and credentials; empty for a proxy with neither.
    folder: str = ""
    #: The model server takes its time.
    thinks: bool = False
    #: Other processes share the listening socket.
    shared: bool = False
    model: str = "diabetes"

    def arguments(self) -> str:
        return json.dumps(asdict(self))


class Trivial(asyncio.Protocol):
    """A model server: one prediction for each row, without any thought."""

    def __init__(self, *, thinks: bool) -> None:
        self._pause = _PREDICTING if thinks else 0.0
        self._seen = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._seen += data
        while (end := self._seen.find(b"\r\n\r\n") + 4) > 3:
            found = _LENGTH.search(self._seen, 0, end)
            size = end + (int(found[1]) if found else 0)
            if len(self._seen) < size:
                return
            body, self._seen = self._seen[end:size], self._seen[size:]
            answer = _answer(len(orjson.loads(body)["dataframe_split"]["data"]))
            if self._pause:
                asyncio.get_running_loop().call_later(self._pause, self._transport.write, answer)
            else:
                self._transport.write(answer)


def _answer(rows: int) -> bytes:
    content = orjson.dumps({"predictions": [206.11667725] * rows})
    return (
        b"HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\nserver: uvicorn\r\n"
        b"content-length: %d\r\ncontent-type: application/json\r\n\r\n" % len(content)
    ) + content


async def upstream(spec: Specification, listener: socket.socket) -> None:
    """Serve trivial predictions until the parent ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Trivial(thinks=spec.thinks), sock=listener)
    async with server:
        await parent_ends()


async def proxy(spec: Specification, listener: socket.socket, recorder: Any = None) -> None:
    """Serve a proxy until the parent ends."""
    from model_deployment.core.signature import Signature
    from model_deployment.gate import Gate, Validation
    from model_deployment.proxy.context import ExchangeContext
    from model_deployment.proxy.routes import Routes
    from model_deployment.proxy.upstream import UpstreamLimits

    mapping = json.loads((Path(spec.root) / "type_mapping.json").read_text(encoding="utf-8"))
    columns = [{"name": name, "type": "double", "required": True} for name in COLUMNS]
    gate = Gate(Signature(columns, None, None), mapping, Validation.STRICT)
    routes = Routes(UpstreamLimits(), gates=lambda route: gate, **_shared_limits(spec))
    routes.publish([_route(spec, n) for n in range(spec.deployments)])
    admit: Any = None
    if spec.folder:
        recorder, admit = _recorder(Path(spec.folder)), _admit(Path(spec.folder))
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    context = ExchangeContext(10 * 1024 * 1024, recorder=recorder)
    await _serve(routes, context, admit, listener, shared=spec.shared)
    await routes.close()


def _route(spec: Specification, number: int) -> Any:
    """The route of a deployment, as this commit or another one has it."""
    from model_deployment.core import domain
    from model_deployment.core.domain import State
    from model_deployment.core.names import ModelKey
    from model_deployment.core.options import Options

    try:
        routes: Any = importlib.import_module("model_deployment.core.routes")
    except ImportError:  # a commit before launches were apart from deployments
        routes = domain
    # It had another name in earlier commits.
    address_type: Any = getattr(domain, "Address", None) or vars(domain)["Endpoint"]
    address, launch = address_type(HOST, spec.upstream), f"launch-{number}"
    fields = routes.Route.__dataclass_fields__
    more: dict[str, Any] = {"options": Options(batch_max_rows=spec.merged)}
    # Before this member there was the option only.
    more |= {"max_batch_rows": spec.merged} if "max_batch_rows" in fields else {}
    if "targets" in fields:
        targets = [
            routes.Target(f"{launch}-{n}", f"{launch}-{n}", address) for n in range(spec.targets)
        ]
        more["targets"] = (*targets,)
    else:  # a deployment had one launch
        more |= {"launch_id": launch, "address": address}
    return routes.Route(ModelKey(spec.model, number + 1), State.READY, **more)


def _shared_limits(spec: Specification) -> dict[str, Any]:
    """The limits that proxies share, in commits that have them and rounds that have a folder."""
    try:
        from model_deployment.proxy.limits_file import create_limits_file
        from model_deployment.proxy.shared_limits import SharedLimits
    except ImportError:
        return {}
    if not spec.folder:
        return {}
    path = Path(spec.folder) / f"limits-{spec.upstream}"
    # A controller makes the file, and gives out the columns; here the proxies do so, one after the other.
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        create_limits_file(path)
        limits = _join(SharedLimits, path)
    return {"usage": lambda route: limits.row(route.key.version - 1)}


def _join(limits: Any, path: Path) -> Any:
    for column in range(64):
        with contextlib.suppress(ValueError):  # another proxy has it
            return limits.open(path, column)
    raise RuntimeError("cannot share limits: all columns are taken")


async def _serve(
    routes: Any, context: Any, admit: Any, listener: socket.socket, *, shared: bool
) -> None:
    """As ``app.server`` does, of this commit or of one before ``ProxyServer``."""
    more = {} if admit is None else {"admit": admit}
    try:
        from model_deployment.proxy.server import ProxyServer
    except ImportError:
        await _serve_by_uvicorn(routes, context, more, listener)
        return
    server = ProxyServer(_nothing_else, routes, context, **more)
    await server.start(listener, shared=shared)
    await parent_ends()
    await server.stop(last=True, patience=5)


async def _serve_by_uvicorn(
    routes: Any, context: Any, more: dict[str, Any], listener: socket.socket
) -> None:
    from model_deployment.http.connection import Connection
    from model_deployment.proxy import forward

    app: Callable[..., Awaitable[None]] = forward.Proxy(_nothing_else, routes, context, **more)  # type: ignore[arg-type, assignment]
    config = uvicorn.Config(
        app,
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
    await parent_ends()
    server.should_exit = True
    await serving


def _recorder(folder: Path) -> Any:
    from model_deployment.recording.counters import RequestCounters
    from model_deployment.recording.recorder import Recorder
    from model_deployment.recording.spool import Spool
    from model_deployment.recording.windows import TrafficWindows

    spool = Spool(folder / f"spool-{os.getpid()}", max_bytes=4 * 1024**3)
    spool.open()
    return Recorder(spool, TrafficWindows("benchmark"), RequestCounters())


def _admit(folder: Path) -> Any:
    from model_deployment.credentials.verify import Credentials

    try:
        from model_deployment.credentials.access import Access
    except ImportError:  # where it was before
        from model_deployment.api.access import Access  # type: ignore[attr-defined, no-redef]

    credentials = Credentials(folder / "credentials")
    credentials.open()
    return Access(credentials).admit


async def _nothing_else(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError(f"only the model is asked, not {scope['path']}")


async def parent_ends() -> None:
    """Wait for the end of standard input, which comes even when the parent is killed."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()


def main() -> None:
    role, spec = sys.argv[1], Specification(**json.loads(sys.argv[2]))
    sys.path.insert(0, spec.root)
    os.sched_setaffinity(0, {spec.core})
    # Several proxies share a core here, where each should have one: so at least none interrupts another.
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    listener = socket.socket(fileno=spec.listener)
    work = {"upstream": upstream, "proxy": proxy}[role](spec, listener)
    uvloop.run(work)


if __name__ == "__main__":
    main()
