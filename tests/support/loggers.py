"""Loggers as they were, after a test that configures them."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def restored(*more: str) -> Iterator[None]:
    """Those that are configured, and more of them by name."""
    loggers = [logging.getLogger(name) for name in ("", "model_deployment", "uvicorn", *more)]
    before = [(each, each.handlers, each.propagate, each.level) for each in loggers]
    try:
        yield
    finally:
        logging.captureWarnings(False)
        for each, handlers, propagate, level in before:
            each.handlers, each.propagate = handlers, propagate
            each.setLevel(level)
