"""The connection of a caller: reads requests, and has each answered in its turn.

Predictions go from the parser to an exchange and back without ASGI. All other requests go through
uvicorn's own ``RequestResponseCycle`` to an ASGI application.
"""

import asyncio
import logging
from collections import deque
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.protocols.utils import get_local_addr, get_remote_addr

from model_deployment.http.asgi import App
from model_deployment.http.handshake import is_handshake
from model_deployment.http.request_parsing import RequestParsing, new_parser
from model_deployment.proxy.asgi_cycle import disconnect, new_cycle
from model_deployment.proxy.asgi_scope import asgi_scope, with_tags
from model_deployment.proxy.caller_line import HangUpWatch, end_with_reset, has_unread
from model_deployment.proxy.caller_request import BUFFERED, CallerGone, CallerRequest, is_long
from model_deployment.proxy.callers import Callers
from model_deployment.proxy.fair_reading import LARGE_PIECE, FairFlow
from model_deployment.proxy.problems import INTERNAL_ERROR, respond
from model_deployment.proxy.unread_answers import UnreadAnswers

_log = logging.getLogger(__name__)

#: Requests that may wait for the answer to an earlier one before reading is paused.
_WAITING = 32
MOST_HEADERS = 256


class CallerConnection(RequestParsing, asyncio.BufferedProtocol):
    """One request is answered at a time; further ones wait, as pipelining has it."""

    longest_head = 64 * 1024

    def __init__(self, callers: Callers) -> None:
        self._callers = callers
        self.parser = new_parser(self)
        #: The request that is being answered.
        self._current: CallerRequest | None = None
        #: The request whose body is being read.
        self._reading: CallerRequest | None = None
        self._waiting: deque[CallerRequest] = deque()
        self._task: asyncio.Task[None] | None = None
        #: What answers the current request, if that is an ASGI application.
        self._cycle: RequestResponseCycle | None = None
        #: Turns of the server's clock since anything came, while no request was under way.
        self.quiet = 0
        #: What the caller has not accepted; None while it accepts what is written as fast as it comes.
        self._unread: UnreadAnswers | None = None
        #: What came behind the requests is none, which their caller hears after their answers.
        self._refusal = b""
        #: What came behind a handshake that is taken.
        self._behind = b""

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        return self._current is None

    @property
    def closing(self) -> bool:
        return self._callers.closing

    @property
    def backed_up(self) -> bool:
        return self._unread is not None

    # ---- The transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self._flow = FairFlow(transport, self._callers.turns)
        self._watch = HangUpWatch(transport, self._flow)
        self._server, self._client = get_local_addr(transport), get_remote_addr(transport)
        self._callers.open.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._callers.open.discard(self)
        self.resume_writing()
        self._watch.end()
        if self._cycle is not None and not self._cycle.response_complete:
            disconnect(self._cycle)
        if self._current is not None:
            self._current.lose_caller()
        self._waiting.clear()
        self._current = self._reading = None
        self.forget_parser()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._callers.came

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self._callers.came[:nbytes]))

    def data_received(self, data: bytes) -> None:
        if self._taken:
            self.take_offer(data)
        elif not self._refusal:
            super().data_received(data)
        if len(data) > LARGE_PIECE and (self._taken or self._refusal or is_long(self._reading)):
            self._flow.wait_turn()
        if self.progressed:  # a head that comes byte by byte is none for long
            self.quiet = 0

    def refuse(self, answer: bytes) -> None:
        request, self._reading, self._refusal = self._reading, None, answer
        if self._current is None:
            super().refuse(answer)
        elif request is not self._current:
            if request is not None:
                self._waiting.remove(request)
            self._pause_reading()
        elif request.answer_begun or (self._cycle is not None and self._cycle.response_started):
            self._cut(request)
        else:
            super().refuse(answer)

    def pause_writing(self) -> None:
        if self._unread is None:
            self._unread = UnreadAnswers(self.transport, self._callers.patience)
        self._flow.pause_writing()

    def resume_writing(self) -> None:
        if self._unread is not None:
            self._unread.end()
            self._unread = None
        self._flow.resume_writing()

    def close_if_idle(self) -> None:
        """Close, unless a request is under way, or something has come that may be one."""
        if self.idle and not self.transport.is_closing() and not has_unread(self.transport):
            self.transport.close()

    # ---- The parser

    def on_message_begin(self) -> None:
        self.progressed = True
        self.url = b""
        self.headers = []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        # Each takes a hundred bytes beside its own: a head of nothing else would take megabytes.
        if len(self.headers) <= MOST_HEADERS:
            self.headers.append((name.lower(), value))

    def takes_offer(self) -> bool:
        paths = self._callers.sockets
        return (
            paths is not None
            and self.url.startswith(paths)
            and is_handshake(self.parser.get_method(), self.parser.get_http_version(), self.headers)
        )

    def take_offer(self, rest: bytes) -> None:
        """Keep what comes before the handshake is answered. It is not allowed, so it is not much."""
        self._behind += rest
        self._pause_reading()
        if len(self._behind) > BUFFERED:
            self.transport.abort()

    def begin_request(self) -> None:
        if len(self.headers) > MOST_HEADERS and not self._refusal:
            self._reading = None
            self.refuse_long_head()
        if self._refusal:
            return
        version = self.parser.get_http_version()
        method = self.parser.get_method()
        scope = asgi_scope(method, self.url, version, self.headers, (self._server, self._client))
        if self._taken:
            scope.update(type="websocket", scheme="ws")
        named = dict(self.headers)
        modern = version != "1.0"
        request = CallerRequest(
            self,
            scope,
            named,
            keep_alive=modern and not self._taken and self.parser.should_keep_alive(),
            expects_continue=modern and named.get(b"expect", b"").lower() == b"100-continue",
        )
        self._reading = request
        if self._current is None:
            self._start(request)
        else:
            self._waiting.append(request)
            if len(self._waiting) >= _WAITING:
                self._pause_reading()

    def on_body(self, piece: bytes) -> None:
        self.progressed = True
        request = self._reading
        if request is None:
            return
        request.came += len(piece)
        if self._cycle is not None and request is self._current:
            self._feed_cycle(self._cycle, piece)
        else:
            request.feed(piece)

    def end_request(self) -> None:
        self.progressed = True
        request, self._reading = self._reading, None
        if request is None:
            return
        request.end_body()
        if self._cycle is not None and request is self._current:
            self._cycle.more_body = False
            self._cycle.message_event.set()
        if request is self._current:
            self.resume_body(request)

    # ---- For requests

    def write(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    def pause_body(self, request: CallerRequest) -> None:
        self._pause_reading()

    def resume_body(self, request: CallerRequest) -> None:
        behind = sum(one.buffered for one in self._waiting)
        if len(self._waiting) < _WAITING and behind <= BUFFERED:
            self._flow.resume_reading()

    def discard(self, request: CallerRequest, size: int | None) -> None:
        if not self.transport.is_closing():  # else the request hears of the end of the connection
            self._watch.end()
        self._callers.unwanted.begin(self.transport, self._flow, size, self.end_request)

    async def accepted(self) -> None:
        await self._flow.drain()

    def answered(self, request: CallerRequest) -> None:
        """Go on with the next request."""
        if (held := request.held_answer) is not None:
            if self._unread is None:
                held.release()
            else:
                self._unread.keep(held)
        if request is not self._current:
            return
        self._current = self._cycle = None
        if not request.keep_alive:
            self._waiting.clear()
            self.transport.close()
            return
        if self._waiting:
            self._start(self._waiting.popleft())
        elif self._refusal:
            super().refuse(self._refusal)
        if not (self._waiting or self.transport.is_closing()):
            self._flow.resume_reading()

    def hand_over(self, request: CallerRequest) -> tuple[asyncio.Transport, bytes]:
        """Give the transport away, which has another protocol from now on."""
        self._callers.open.discard(self)
        self.resume_writing()
        self._watch.end()
        self._current = self._reading = None
        self.forget_parser()
        return self.transport, self._behind

    # ---- Answering

    def _start(self, request: CallerRequest) -> None:
        self._current = request
        self._task = self._callers.loop.create_task(self._answer(request))

    async def _answer(self, request: CallerRequest) -> None:
        try:
            await self._callers.answer(request)
        except CallerGone:
            pass
        except Exception:
            _log.exception("cannot answer a request", extra={"path": request.scope["path"]})
            if not (request.answer_begun or request.gone):
                respond(request, INTERNAL_ERROR)
        finally:
            if request is self._current and self._cycle is None and not request.pending:
                self._cut(request)

    def _cut(self, request: CallerRequest) -> None:
        """End the connection so that its caller sees that the answer is incomplete."""
        if request.ends_with_connection:
            end_with_reset(self.transport)
        if self.backed_up or request.ends_with_connection:
            self.transport.abort()
        else:
            self.transport.close()

    async def pass_on(self, request: CallerRequest, app: App) -> None:
        """Have an ASGI application answer the current request."""

        def answered() -> None:
            request.answer_complete = True
            request.keep_alive = cycle.keep_alive
            cycle.body = bytearray()  # the application may go on
            self.answered(request)

        cycle = new_cycle(request, self.transport, self._flow, answered)
        if request is self._current:
            self._cycle = cycle
        assert self._task is not None  # noqa: S101 - it runs here
        self._callers.tasks.add(self._task)
        self._task.add_done_callback(self._callers.tasks.discard)
        tagged = with_tags(app, request.request_id, lambda: self.closing)
        await cycle.run_asgi(tagged)  # type: ignore[arg-type]

    def _feed_cycle(self, cycle: Any, piece: bytes) -> None:
        if not cycle.response_complete:
            cycle.body += piece
            if len(cycle.body) > BUFFERED:
                self._pause_reading()
            cycle.message_event.set()

    # ---- Reading

    def _pause_reading(self) -> None:
        """Read no more for now. The event loop no longer tells when the caller hangs up."""
        self._flow.pause_reading()
        self._watch.begin()
