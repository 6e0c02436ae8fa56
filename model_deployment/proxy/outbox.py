"""Answers with a capture: sent together, once all their captures are written."""

import asyncio
from collections.abc import Callable

from model_deployment.proxy.caller_request import CallerRequest
from model_deployment.proxy.headers import RawHeader


class Outbox:
    """The answers of one turn of the event loop. Their captures are written with one system call."""

    def __init__(self, write_captures: Callable[[], None]) -> None:
        self._write_captures = write_captures
        self._loop = asyncio.get_running_loop()
        self._answers: list[tuple[CallerRequest, int, list[RawHeader], bytes]] = []

    def put(
        self, request: CallerRequest, status: int, raw: list[RawHeader], content: bytes
    ) -> None:
        """Send an answer at the end of this turn."""
        if not self._answers:
            self._loop.call_soon(self._send)
        request.pending = True
        self._answers.append((request, status, raw, content))

    def _send(self) -> None:
        answers, self._answers = self._answers, []
        self._write_captures()
        for request, status, raw, content in answers:
            request.pending = False
            if not request.gone:
                request.answer(status, raw, content)
            elif request.held_answer is not None:
                request.held_answer.release()
