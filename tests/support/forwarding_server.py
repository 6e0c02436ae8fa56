"""Forwards requests to a server below a path prefix, as a reverse proxy does, and hides some paths."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from tests.support.harness import HOST
from tests.support.threaded_server import listening

_KEPT = ("content-type", "location")


@contextmanager
def forwarding(
    target: Callable[[], str], *, prefix: str = "", hidden: Collection[str] = ()
) -> Iterator[str]:
    """The address of the proxy.

    Args:
        target: address of the server, which may change.
        prefix: the path that the proxy puts before the server's paths.
        hidden: paths of the server that are answered 404 with a page.
    """
    with httpx.Client(timeout=60, trust_env=False) as client:

        class Handler(BaseHTTPRequestHandler):
            def forward(self) -> None:
                path = self.path.removeprefix(prefix)
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if path == self.path != path + prefix or path.partition("?")[0] in hidden:
                    status, headers, content = (
                        404,
                        {"content-type": "text/html"},
                        b"<h1>Not Found</h1>",
                    )
                else:
                    sent = {"content-type": self.headers.get("content-type", "application/json")}
                    answer = client.request(
                        self.command, target() + path, content=body, headers=sent
                    )
                    status, content = answer.status_code, answer.content
                    headers = {
                        name: answer.headers[name] for name in _KEPT if name in answer.headers
                    }
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Nothing."""

        server = ThreadingHTTPServer((HOST, 0), Handler)
        with listening(server):
            yield f"http://{HOST}:{server.server_port}{prefix}"
