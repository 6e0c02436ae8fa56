"""A model server for tests: MLflow's scoring protocol, up in milliseconds, with faults to order.

Started as ``mlflow models serve`` is: ``-m MODEL_DIR -h 127.0.0.1 -p PORT -w N --env-manager X``.
It answers ``GET /ping``, ``/health`` and ``/version``, and ``POST /invocations`` with
``{"predictions": [...], "model": NAME, "pid": PID, "launch": MARKER}``. The predictions echo the
``instances`` or ``inputs``, or the ``x`` column of ``dataframe_records`` and ``dataframe_split``.

The faults are read once, from ``MODEL_DIR/stub.json``: an object with any of the members below. An
unknown member is an error, so that no test passes for want of the fault it misspelt.

Life
==================  ===============================================================================
wrapper             true: as MLflow does, the server is a child in the same process group, and this
                    process waits for it and ends as it does
flaky_start_file    path: exits 3 at start while that file exists
fork_grandchild     "plain", "setsid" (own session) or "double" (forked twice too): ``sleep 1000``
load_seconds        sleeps before it listens
say                 a line it writes while it loads
exit_at_start       exit status, after loading; ends stderr with "stub: cannot load model"
import_at_start     a module that it imports while it loads
never_ready         true: never listens
exit_after_seconds  exits 4 that long after it began to listen
stop_on_start       true: stops itself (SIGSTOP), once, after the first health check it answered
ignore_sigterm      true: only SIGKILL ends it (what it starts inherits this)

Answers to /invocations
==================  ===============================================================================
spam_log_bytes      writes that much to stdout at each request
die_on_request      "exit" (status 5, at once), "sys.exit" (status 6), "segfault" or "kill"
hang_on_request     true: no answer, ever; health checks are still answered
slow_seconds        time each prediction takes; requests do not wait for each other
timeout_504         true: 504, in MLflow's words
status, body        the raw answer: a number, a text
stream_chunks       chunked answer in that many pieces (predictions are 0, 1, ...)
chunk_seconds       pause between them
nan                 true: each prediction is a bare NaN
echo_headers        true: the answer also has method, path, headers (pairs) and body_length
cut_body            true: announces more than it sends, then hangs up
leak_bytes          keeps that much more memory after each request
every               only each n-th request meets the faults above; the others are answered well

All answers
==================  ===============================================================================
name                the model's name in answers (else the name of MODEL_DIR)
wedge_file          path: while that file exists, accepts connections and answers nothing at all
ping_status         status of health checks
response_headers    object: added, or in place of a header of that name; a list repeats it
==================  ===============================================================================

SIGTERM ends it at once with status 0, whatever is under way. Standard library only, and little of
it: it is started hundreds of times.
"""

import argparse
import contextlib
import itertools
import json
import os
import resource
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

from stub_protocol import Request, head, predictions, read_request, send_pieces

# A program of its own, which has no settings.
ENVIRONMENT = os.environ

EXIT_FLAKY, EXIT_LATER, EXIT_ON_REQUEST, EXIT_BY_EXCEPTION = 3, 4, 5, 6
GRANDCHILDREN = ("", "plain", "setsid", "double")
DEATHS = ("", "exit", "sys.exit", "segfault", "kill")


class Faults(NamedTuple):
    """The menu; see the top of the file."""

    name: str = ""
    say: str = ""
    wrapper: bool = False
    flaky_start_file: str = ""
    fork_grandchild: str = ""
    load_seconds: float = 0.0
    exit_at_start: int | None = None
    import_at_start: str = ""
    never_ready: bool = False
    exit_after_seconds: float | None = None
    stop_on_start: bool = False
    ignore_sigterm: bool = False
    wedge_file: str = ""
    ping_status: int = 200
    response_headers: dict[str, str | list[str]] = {}
    spam_log_bytes: int = 0
    die_on_request: str = ""
    hang_on_request: bool = False
    slow_seconds: float = 0.0
    timeout_504: bool = False
    status: int = 200
    body: str | None = None
    stream_chunks: int = 0
    chunk_seconds: float = 0.0
    nan: bool = False
    echo_headers: bool = False
    cut_body: bool = False
    leak_bytes: int = 0
    every: int = 1


#: Of the answers to ``/invocations``; a request that they leave alone meets none of them.
ANSWERS = Faults._fields[Faults._fields.index("spam_log_bytes") :]


class Server:
    """Listens, and answers each connection on a thread of its own."""

    def __init__(self, name: str, faults: Faults) -> None:
        self._name = name
        self._faults = faults
        self._well = faults._replace(**{name: Faults._field_defaults[name] for name in ANSWERS})
        self._requests = itertools.count(1)
        self._leaked: list[bytes] = []
        self._listener = socket.socket()
        self._stopped = False
        self._exit: int | None = None

    def run(self, host: str, port: int, descriptor: int | None) -> int:
        """Serve until something ends the process; the exit status if that was orderly."""
        if descriptor is not None:
            self._listener = socket.socket(fileno=descriptor)
            self._listener.setblocking(True)
        else:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind((host, port))
            self._listener.listen(4096)
        log(f"stub: listening on {host}:{port}")
        if self._faults.exit_after_seconds is not None:
            timer = threading.Timer(self._faults.exit_after_seconds, os._exit, [EXIT_LATER])
            timer.daemon = True
            timer.start()
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                if self._exit is None:
                    raise
                return self._exit
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        hung_up = contextlib.suppress(ConnectionError)
        with connection, connection.makefile("rb") as stream, hung_up:
            while (request := read_request(stream, connection)) is not None:
                while self._faults.wedge_file and Path(self._faults.wedge_file).exists():
                    time.sleep(0.02)
                if not self._answer(request, connection) or not request.keep_alive:
                    break

    def _answer(self, request: Request, connection: socket.socket) -> bool:
        """Answer one request; whether the connection may be used again."""
        path = request.path.partition("?")[0]
        match request.method, path:
            case "GET", "/ping" | "/health":
                self._send(connection, self._faults.ping_status, b"\n")
                if self._faults.stop_on_start and not self._stopped:
                    self._stopped = True
                    os.kill(os.getpid(), signal.SIGSTOP)
            case "GET", "/version":
                self._send(connection, 200, b"stub")
            case "POST", "/invocations":
                return self._invoke(request, connection)
            case _, "/ping" | "/health" | "/version" | "/invocations":
                self._send(connection, 405, b'{"detail":"Method Not Allowed"}')
            case _:
                self._send(connection, 404, b'{"detail":"Not Found"}')
        return True

    def _invoke(self, request: Request, connection: socket.socket) -> bool:
        faults = self._well if next(self._requests) % self._faults.every else self._faults
        self._misbehave(faults)
        time.sleep(faults.slow_seconds)
        if faults.stream_chunks:
            self._stream(connection, faults)
            return True
        body = faults.body.encode() if faults.body is not None else self._predict(request, faults)
        status = faults.status
        if faults.timeout_504:
            status, body = 504, b"Request processing time exceeded limit"
        self._send(connection, status, body, announced=len(body) + 100 * faults.cut_body)
        return not faults.cut_body

    def _misbehave(self, faults: Faults) -> None:
        if faults.leak_bytes:
            self._leaked.append(b"x" * faults.leak_bytes)
        line = b"stub: spam\n"
        spam = memoryview(line * (faults.spam_log_bytes // len(line) + 1))
        spam = spam[: faults.spam_log_bytes]
        while spam:
            spam = spam[os.write(1, spam) :]
        match faults.die_on_request:
            case "exit":
                os._exit(EXIT_ON_REQUEST)
            case "sys.exit":
                self._exit = EXIT_BY_EXCEPTION
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes the main thread, which leaves
            case "segfault":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
        if faults.hang_on_request or faults.die_on_request:
            threading.Event().wait()

    def _predict(self, request: Request, faults: Faults) -> bytes:
        values = predictions(request.body)
        answer: dict[str, object] = {
            "predictions": [float("nan")] * len(values) if faults.nan else values,
            "model": self._name,
            "pid": os.getpid(),
            "launch": ENVIRONMENT.get("MODEL_DEPLOYMENT_LAUNCH"),
        }
        if faults.echo_headers:
            answer |= {
                "method": request.method,
                "path": request.path,
                "headers": request.headers,
                "body_length": len(request.body),
            }
        return json.dumps(answer).encode()

    def _stream(self, connection: socket.socket, faults: Faults) -> None:
        connection.sendall(self._head(200, ("transfer-encoding", "chunked")))
        send_pieces(connection, faults.stream_chunks, faults.chunk_seconds)

    def _send(
        self, connection: socket.socket, status: int, body: bytes, announced: int | None = None
    ) -> None:
        length = len(body) if announced is None else announced
        connection.sendall(self._head(status, ("content-length", str(length))) + body)

    def _head(self, status: int, *own: tuple[str, str]) -> bytes:
        headers = [("content-type", "application/json"), *own]
        answer: bytes = head(status, headers, self._faults.response_headers)
        return answer


def load(faults: Faults) -> None:
    """What happens before it listens."""
    log("stub: loading")
    if faults.say:
        log(faults.say)
    if faults.flaky_start_file and Path(faults.flaky_start_file).exists():
        log(f"stub: {faults.flaky_start_file} is in the way")
        sys.exit(EXIT_FLAKY)
    match faults.fork_grandchild:
        case "plain" | "setsid":
            spawn("sleep", "1000", setsid=faults.fork_grandchild == "setsid")
        case "double":
            if (middle := os.fork()) == 0:
                spawn("sleep", "1000", setsid=True)
                os._exit(0)
            os.waitpid(middle, 0)
    time.sleep(faults.load_seconds)
    if faults.import_at_start:
        __import__(faults.import_at_start)
    if faults.exit_at_start is not None:
        log("Traceback (most recent call last):\n  ...\nstub: cannot load model")
        sys.exit(faults.exit_at_start)
    while faults.never_ready:
        time.sleep(3600)


def spawn(*command: str, setsid: bool = False) -> int:
    """Start a program with this environment (the marker in it). Cheaper than ``subprocess``."""
    return os.posix_spawnp(command[0], command, ENVIRONMENT, setsid=setsid)


def wrap() -> None:
    """Be the parent: start the server, wait for it, and end as it did."""
    pid = spawn(sys.executable, __file__, "--wrapped", *sys.argv[1:])
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code < 0:
        os.kill(os.getpid(), -code)
    sys.exit(code)


def log(text: str) -> None:
    """Write to stderr, with no buffer that a sudden end could lose."""
    os.write(2, f"{text}\n".encode())


def main() -> None:
    """Read the command line and the menu, and go."""
    parser = argparse.ArgumentParser(add_help=False)  # -h is the host
    parser.add_argument("-m", "--model-uri", type=Path, required=True)
    parser.add_argument("-h", "--host", default="127.0.0.1")
    parser.add_argument("-p", "--port", type=int, default=5000)
    parser.add_argument("--descriptor", type=int, help="a socket that listens, in place of a port")
    parser.add_argument("--wrapped", action="store_true")
    options, _ = parser.parse_known_args()
    menu = options.model_uri / "stub.json"
    faults = Faults(**json.loads(menu.read_bytes())) if menu.exists() else Faults()
    assert faults.fork_grandchild in GRANDCHILDREN, faults.fork_grandchild
    assert faults.die_on_request in DEATHS, faults.die_on_request
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it dies of signals, and often
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if options.descriptor is not None:
        os.set_inheritable(options.descriptor, True)
    if faults.wrapper and not options.wrapped:
        wrap()
    if faults.ignore_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    load(faults)
    threading.stack_size(512 * 1024)  # hundreds of connections
    server = Server(faults.name or options.model_uri.name, faults)
    sys.exit(server.run(options.host, options.port, options.descriptor))


if __name__ == "__main__":
    main()
