"""Log lines: one per event, with ``model``, ``version`` and ``launch_id`` where there are any.

Control characters are escaped, since a model's name or a registry's message may hold some.
"""

import logging
from typing import Any

_FIELDS = ("model", "version", "launch_id")


class LineFormatter(logging.Formatter):
    """``<time> <level> <message> model=… version=… launch_id=…``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self.default_msec_format = "%s.%03d"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """See :class:`logging.Formatter`."""
        line = super().formatMessage(record)
        fields = [f"{name}={getattr(record, name)}" for name in _FIELDS if hasattr(record, name)]
        return escape(" ".join([line, *fields]))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """See :class:`logging.Formatter`."""
        return "\n".join(escape(line) for line in super().formatException(ei).splitlines())


def escape(text: str) -> str:
    """With control characters written as escapes."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def configure(level: str) -> None:
    """Send the package's log, and uvicorn's, to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter())
    for name in ("model_deployment", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level)
    # What uvicorn says at every start is said by the banner, and its errors stay.
    logging.getLogger("uvicorn").setLevel(max(logging.getLevelName(level), logging.WARNING))
