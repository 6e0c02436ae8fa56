"""Sends warnings and errors of a proxy to its controller, whose log people read first."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator

from model_deployment.log import lines
from model_deployment.log.masking import mask
from model_deployment.proxy.protocol import Message

#: Records that are sent in a second at most; all are in the proxy's own log.
_MOST = 20
#: Characters of a text.
_TEXT = 8192


class LogSender(logging.Handler):
    """Records may come from any thread; they are sent in the event loop in which this is made."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        super().__init__(logging.WARNING)
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._second = 0
        self._sent = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = _message(record)
            self._loop.call_soon_threadsafe(self._send_bounded, message)
        except RuntimeError:  # the loop is closed
            return
        except Exception:
            self.handleError(record)

    def _send_bounded(self, message: Message) -> None:
        second = int(self._loop.time())
        if second != self._second:
            self._second, self._sent = second, 0
        if self._sent >= _MOST:
            return
        self._sent += 1
        self._send(message)


def _message(record: logging.LogRecord) -> Message:
    text = record.getMessage()
    if record.exc_info and record.exc_info[1] is not None:
        text = f"{text} ({type(record.exc_info[1]).__name__}: {record.exc_info[1]})"
    fields = {name: getattr(record, name, None) for name in lines.FIELDS}
    return {
        "event": "log",
        "level": record.levelno,
        "logger": record.name,
        "text": lines.shorten(mask(text), _TEXT),
        "fields": {name: str(value) for name, value in fields.items() if value is not None},
    }


@contextlib.contextmanager
def sent_to(send: Callable[[Message], None]) -> Iterator[None]:
    """Send what the package and libraries log meanwhile."""
    handler = LogSender(send)
    named = [logging.getLogger(name) for name in ("model_deployment", "uvicorn")]
    # Records of the others reach the root.
    loggers = [logging.getLogger(), *(logger for logger in named if not logger.propagate)]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
