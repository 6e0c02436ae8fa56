"""A server that answers as a test says, request by request, over real connections."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.threaded_server import listening


@dataclass(frozen=True)
class Answer:
    """What one request is answered with."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Read the request, and end the connection after this part of the answer's body; None: all of it.
    cut: int | None = None


DROPPED = Answer(status=0)


@dataclass
class ScriptedServer:
    """Answers in turn; the last answer again and again."""

    url: str
    answers: list[Answer]
    #: Method, path and body of each request.
    requests: list[tuple[str, str, bytes]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def next(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def scripted(*answers: Answer) -> Iterator[ScriptedServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    script = ScriptedServer(f"http://127.0.0.1:{server.server_port}", list(answers))
    server.script = script  # type: ignore[attr-defined]
    with listening(server):
        yield script


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5

    def _answer(self) -> None:
        script: ScriptedServer = self.server.script  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        script.requests.append((self.command, self.path, body))
        script.headers.append({name.lower(): value for name, value in self.headers.items()})
        answer = script.next()
        if answer.status == 0:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body[: answer.cut])
        self.close_connection = self.close_connection or answer.cut is not None

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass
