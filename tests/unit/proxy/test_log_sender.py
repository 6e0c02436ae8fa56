"""What of a proxy's log reaches its controller."""

import asyncio
import logging

import pytest

from model_deployment.data_plane.log_records import log_again
from model_deployment.proxy.log_sender import sent_to
from model_deployment.proxy.protocol import Message

_log = logging.getLogger("model_deployment.proxy.tests")


async def test_warnings_and_errors_are_sent_with_their_fields() -> None:
    sent: list[Message] = []
    with sent_to(sent.append):
        _log.info("not this")
        _log.warning("all of %s", "this", extra={"model": "m", "version": 1})
        await asyncio.to_thread(_log.error, "from a thread of https://u:secret@host/")
        await asyncio.sleep(0)
    _log.error("nobody listens any more")
    await asyncio.sleep(0)
    assert [(one["level"], one["text"], one["fields"]) for one in sent] == [
        (logging.WARNING, "all of this", {"model": "m", "version": "1"}),
        (logging.ERROR, "from a thread of https://u:***@host/", {}),
    ]
    assert {(one["event"], one["logger"]) for one in sent} == {("log", _log.name)}


async def test_an_exception_is_named() -> None:
    sent: list[Message] = []
    with sent_to(sent.append):
        try:
            raise ValueError("no room")
        except ValueError:
            _log.exception("cannot do it")
        await asyncio.sleep(0)
    assert [one["text"] for one in sent] == ["cannot do it (ValueError: no room)"]


async def test_a_flood_is_cut_short() -> None:
    sent: list[Message] = []
    with sent_to(sent.append):
        for number in range(1000):
            _log.warning("%s", number)
        await asyncio.sleep(0)
    assert 20 <= len(sent) <= 40


def test_they_are_logged_again_under_the_same_logger(caplog: pytest.LogCaptureFixture) -> None:
    message: Message = {
        "event": "log",
        "level": logging.WARNING,
        "logger": _log.name,
        "text": "100 % of it",
        "fields": {"model": "m", "name": "not a field of a record's own"},
    }
    log_again("0-ab", message)
    log_again("0-ab", {"event": "log", "level": "odd"})
    [record] = caplog.records
    assert record.getMessage() == "proxy 0-ab: 100 % of it"
    assert record.levelno == logging.WARNING
    assert vars(record)["model"] == "m"
