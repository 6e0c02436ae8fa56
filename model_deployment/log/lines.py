"""Log lines, one event each: text for a terminal, JSON for programs.

Both have the :data:`FIELDS` that are known. Texts may come from a registry, a model, a device or a caller:
control characters are escaped, passwords masked, long texts cut.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from pythonjsonlogger.core import BaseJsonFormatter

from model_deployment.log.masking import mask

#: Fields of an event beside its message.
FIELDS = (
    "model", "endpoint", "version", "launch_id", "project", "device", "release", "request_id", "user",
)  # fmt: skip
#: Fields of the audit trail, in JSON only.
_AUDIT_FIELDS = ("action", "status", "items", "client")
#: Maximum characters of a field, of a message, and of the trace of an exception.
_FIELD, _MESSAGE, _TRACE = 256, 8192, 16384


class LineFormatter(logging.Formatter):
    """``<time> <level> <message> model=… version=… launch_id=…``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self.default_msec_format = "%s.%03d"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        line = shorten(mask(super().formatMessage(record)), _MESSAGE)
        return escape(" ".join([line, *(f"{name}={one}" for name, one in _fields(record, FIELDS))]))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        trace = shorten(mask(super().formatException(ei)), _TRACE)
        return "\n".join(escape(line) for line in trace.splitlines())


class JsonFormatter(BaseJsonFormatter):
    """One JSON object on one line of ASCII."""

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        """Add the known fields; other attributes that libraries put on their records are left out."""
        at = datetime.fromtimestamp(record.created, UTC)
        log_data["timestamp"] = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        log_data["level"] = record.levelname
        log_data["logger"] = shorten(record.name, _FIELD)
        log_data["message"] = shorten(mask(record.getMessage()), _MESSAGE)
        log_data.update(_fields(record, (*FIELDS, *_AUDIT_FIELDS)))
        trace = [
            message_dict[name] for name in ("exc_info", "stack_info") if message_dict.get(name)
        ]
        if trace:
            log_data["exception"] = shorten(mask("\n".join(map(str, trace))), _TRACE)

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        """ASCII, so that no character controls a terminal; JSON escapes all of them but DEL."""
        return json.dumps(log_data).replace("\x7f", "\\u007f")


def _fields(record: logging.LogRecord, names: tuple[str, ...]) -> list[tuple[str, str | int]]:
    found = [(name, getattr(record, name, None)) for name in names]
    return [
        (name, value if isinstance(value, int) else shorten(mask(str(value)), _FIELD))
        for name, value in found
        if value is not None and value != ""
    ]


def shorten(text: str, limit: int) -> str:
    """Cut a long text in the middle: the end of a trace says most."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}...[{len(text) - 2 * half} characters]...{text[-half:]}"


def escape(text: str) -> str:
    """Replace control characters with escapes."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def configure(level: str, form: str = "auto") -> bool:
    """Send the log of the package, of uvicorn and warnings of libraries to standard error.

    Args:
        form: ``text``, ``json``, or ``auto``: text on a terminal.

    Returns:
        Whether the log is JSON.
    """
    as_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if as_json else LineFormatter())
    for name in ("model_deployment", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level)
    _enable()
    # The controller's own start message replaces uvicorn's; errors of uvicorn stay.
    logging.getLogger("uvicorn").setLevel(max(logging.getLevelName(level), logging.WARNING))
    # Without this handler, asyncio and libraries would write bare lines in another form.
    logging.getLogger().handlers = [handler]
    logging.captureWarnings(as_json)
    return as_json


def _enable() -> None:
    """Enable loggers that the logging set-up of a library has disabled (alembic's does)."""
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith(("model_deployment", "uvicorn")) and isinstance(logger, logging.Logger):
            logger.disabled = False


def adopt(*names: str) -> None:
    """Replace the handlers of libraries' loggers by the package's, if :func:`configure` was called."""
    if logging.getLogger("model_deployment").handlers:
        _enable()
        for name in names:
            logger = logging.getLogger(name)
            logger.handlers = []
            logger.propagate = True
