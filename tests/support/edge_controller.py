"""A controller of devices for tests of the agent: the whole protocol, and faults where a test asks.

It is a real server in this process: Starlette and uvicorn, which the controller of the product uses too.
What it does follows ``docs/reference/device-protocol.md``; it shares no code with the product.
"""

import asyncio
import base64
import contextlib
import json
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tests.support.edge_models import Signer
from tests.support.ports import claim_ports
from tests.support.waiting import until_sync


class EdgeController:
    """One project with one device; what a test sets takes effect at once."""

    def __init__(self, signer: Signer | None = None, port: int | None = None) -> None:
        self.signer = signer or Signer()
        self.port = port or claim_ports(1)
        self.token = ""
        self.codes: set[str] = set()
        #: What the device should run: an offer, or None.
        self.desired: dict[str, str] | None = None
        self.commands: list[dict[str, Any]] = []
        #: Stored messages, in the order in which they were stored.
        self.stored: list[dict[str, Any]] = []
        #: Number of the last stored message of each stream.
        self.received: dict[str, int] = {}
        self.hellos: list[dict[str, Any]] = []
        self.pings: list[dict[str, Any]] = []
        self.polls = 0
        #: Requests of files: digest and the ``Range`` header.
        self.downloads: list[tuple[str, str | None]] = []
        #: Bytes after which the next download is cut, one entry for each.
        self.cuts: list[int] = []
        #: Downloads stop before their last byte while this is set.
        self.hold = threading.Event()
        self.acknowledges = True
        #: Status of the handshake of sockets, if they are refused.
        self.refuse_sockets: int | None = None
        #: What comes instead of a file, by its digest.
        self.instead: Callable[[str, bytes], bytes] = lambda digest, content: content
        #: Whether parts of files can be had.
        self.ranges = True
        #: Where requests of files are sent instead.
        self.redirect = ""
        #: What a network between says to each request of a file.
        self.portal: bytes | None = None
        #: Milliseconds that the clock of this controller is ahead.
        self.ahead = 0
        self._sockets: set[WebSocket] = set()
        self._generation = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    # What tests call

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        paths = [
            Route("/hall/registerDevice", self._register, methods=["POST"]),
            Route("/hall/blobs/{digest}", self._blob),
            Route("/hall/activeModel", self._active),
            Route("/hall/messages", self._messages, methods=["POST"]),
            WebSocketRoute("/ws/{device}", self._socket),
        ]
        config = uvicorn.Config(
            Starlette(routes=paths),
            host="127.0.0.1",
            port=self.port,
            ws="websockets-sansio",
            log_config=None,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        end = time.monotonic() + 10
        while not self._server.started:
            assert time.monotonic() < end, "the server did not start"
            time.sleep(0.01)
        return self

    def _serve(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._server.serve())
        self._loop.close()

    def __exit__(self, *_: object) -> None:
        self.hold.clear()
        self._server.should_exit = True
        self._thread.join()

    def code(self) -> str:
        """A code that is good once."""
        code = f"mdc_{secrets.token_urlsafe(32)}.{self.signer.id}"
        self.codes.add(code)
        return code

    def want(self, offer: dict[str, str] | None) -> None:
        """Say what the device should run."""
        self.desired = offer
        self._say({"type": "desired", "release": offer})

    def command(self, number: int, name: str, value: Any) -> None:
        """Order a value."""
        self.commands.append({"id": number, "name": name, "value": value})
        self._say({"type": "command", **self.commands[-1]})

    def drop(self, code: int = 1012) -> None:
        """End all sockets."""
        self._on_loop(self._close(code))

    def reconnect(self) -> None:
        """End all sockets, and wait for the next hello."""
        before = len(self.hellos)
        self.drop()
        until_sync(lambda: len(self.hellos) > before, timeout=40, what="a new connection")

    def messages(self, kind: str) -> list[Any]:
        """Data of the stored messages of a kind."""
        with self._lock:
            return [one["data"] for one in self.stored if one["kind"] == kind]

    def states(self, number: int) -> list[str]:
        """How the device went on with a release, without repetitions."""
        found: list[str] = []
        for data in self.messages("progress"):
            if data["release"] == number and found[-1:] != [data["state"]]:
                found.append(data["state"])
        return found

    def until_state(self, number: int, state: str) -> None:
        """Wait until the device has said that it is so far with a release."""
        until_sync(
            lambda: self.states(number)[-1:] == [state],
            timeout=30,
            what=f"release {number} to be {state}, not {self.states(number)}",
        )

    def reason(self, number: int) -> str:
        """Reason of the last report about a release."""
        return str(
            [one for one in self.messages("progress") if one["release"] == number][-1]["reason"]
        )

    @property
    def now(self) -> int:
        """Milliseconds since 1970."""
        return int(time.time() * 1000) + self.ahead

    # The protocol

    def _on_loop(self, work: Any) -> None:
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def _say(self, frame: dict[str, Any]) -> None:
        async def send() -> None:
            for socket in list(self._sockets):
                # One that has just ended: the device is told when it comes again.
                with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                    await socket.send_text(json.dumps(frame))

        self._on_loop(send())

    async def _close(self, code: int) -> None:
        for socket in list(self._sockets):
            await socket.close(code)

    def _good(self, headers: Any) -> bool:
        return bool(self.token) and headers.get("authorization") == f"Bearer {self.token}"

    async def _register(self, request: Request) -> Response:
        body = await request.json()
        if body["code"] not in self.codes:
            return JSONResponse({"detail": "the code is not good"}, 403)
        self.codes.remove(body["code"])
        self.token = f"mdd_{secrets.token_urlsafe(32)}"
        return JSONResponse(
            {
                "device": body["device"],
                "project": "hall",
                "token": self.token,
                "key": {"id": self.signer.id, "public": _base64(self.signer.public)},
            },
            201,
        )

    async def _blob(self, request: Request) -> Response:
        digest = request.path_params["digest"]
        if not self._good(request.headers):
            return JSONResponse({"detail": "no"}, 401)
        asked = request.headers.get("range")
        self.downloads.append((digest, asked))
        if digest not in self.signer.blobs:
            return JSONResponse({"detail": "there is no such file"}, 404)
        content = self.instead(digest, self.signer.blobs[digest])
        headers = {"ETag": f'"{digest}"', "Accept-Ranges": "bytes"}
        start, status = 0, 200
        if self.portal is not None:
            return Response(self.portal, media_type="text/html")
        if self.redirect:
            return RedirectResponse(self.redirect)
        if self.ranges and asked and request.headers.get("if-range") == f'"{digest}"':
            start, status = int(asked.removeprefix("bytes=").rstrip("-")), 206
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        headers["Content-Length"] = str(len(content) - start)
        cut = self.cuts.pop(0) if self.cuts else None
        return StreamingResponse(self._pieces(content[start:], cut), status, headers)

    async def _pieces(self, content: bytes, cut: int | None) -> AsyncIterator[bytes]:
        if cut is not None and cut < len(content):
            yield content[:cut]
            raise ConnectionAbortedError("cut, as the test asked")
        if content:
            yield content[:-1]
        while self.hold.is_set():  # noqa: ASYNC110 - tests set it in another thread
            await asyncio.sleep(0.01)
        yield content[-1:]

    async def _active(self, request: Request) -> Response:
        if not self._good(request.headers):
            return JSONResponse({"detail": "no"}, 401)
        self.polls += 1
        return JSONResponse({"release": self.desired, "commands": self.commands, "time": self.now})

    async def _messages(self, request: Request) -> Response:
        if not self._good(request.headers):
            return JSONResponse({"detail": "no"}, 401)
        body = await request.json()
        for message in body["messages"]:
            self._store(body["stream"], message)
        return JSONResponse({"received": self.received.get(body["stream"], 0)})

    async def _socket(self, socket: WebSocket) -> None:
        if self.refuse_sockets is not None:
            await socket.send_denial_response(Response(status_code=self.refuse_sockets))
            return
        if not self._good(socket.headers):
            await socket.send_denial_response(Response(status_code=401))
            return
        await socket.accept()
        try:
            hello = json.loads(await socket.receive_text())
            assert hello["type"] == "hello", hello
            self.hellos.append(hello)
            await self._close(4409)
            self._generation += 1
            await socket.send_text(json.dumps(self._welcome(hello["stream"])))
            self._sockets.add(socket)
            await socket.send_text(json.dumps({"type": "desired", "release": self.desired}))
            for command in self.commands:
                await socket.send_text(json.dumps({"type": "command", **command}))
            while True:
                frame = json.loads(await socket.receive_text())
                await self._take(socket, hello["stream"], frame)
        except (WebSocketDisconnect, RuntimeError):
            pass  # it ended
        finally:
            self._sockets.discard(socket)

    def _welcome(self, stream: str) -> dict[str, Any]:
        return {
            "type": "welcome",
            "protocol": 1,
            "generation": self._generation,
            "received": self.received.get(stream, 0),
            "time": self.now,
            "device": "camera-7",
            "project": "hall",
        }

    async def _take(self, socket: WebSocket, stream: str, frame: dict[str, Any]) -> None:
        if frame["type"] == "ping":
            self.pings.append(frame["health"])
            await socket.send_text('{"type":"pong"}')
            return
        assert frame["type"] == "message", frame
        self._store(stream, frame)
        if self.acknowledges:
            ack = {"type": "ack", "seq": self.received.get(stream, 0)}
            await socket.send_text(json.dumps(ack))

    def _store(self, stream: str, message: dict[str, Any]) -> None:
        with self._lock:
            if message["seq"] == self.received.get(stream, 0) + 1:
                self.received[stream] = message["seq"]
                self.stored.append({**message, "stream": stream})


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
