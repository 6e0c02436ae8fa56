"""Logs: nothing in them steers a terminal, and they stay within their size while models write."""

import errno
import io
import logging
import os
import re
import shutil
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.log.lines import LineFormatter, configure, escape
from model_deployment.runtime.logs import LaunchLogs
from tests.support.loggers import restored

LIMIT = 4096


@pytest.fixture
def logs(tmp_path: Path) -> LaunchLogs:
    return LaunchLogs(tmp_path, LIMIT)


def write(logs: LaunchLogs, launch_id: str, content: str | bytes) -> Path:
    path = logs.path(launch_id)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def line_of(message: str, *args: object, **fields: object) -> str:
    """One event, as it is written."""
    logger = logging.Logger("model_deployment.test")
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter())
    logger.addHandler(handler)
    exc_info = fields.pop("exc_info", None)
    logger.warning(message, *args, extra=fields, exc_info=exc_info)  # type: ignore[arg-type]
    return stream.getvalue()


def test_line_names_model_version_and_launch() -> None:
    line = line_of("%s -> %s", "pending", "starting", launch_id="ab", model="my model", version=3)
    assert line.endswith(
        " WARNING model_deployment.test: pending -> starting model=my model version=3 launch_id=ab\n"
    )


def test_line_shows_only_the_fields_there_are() -> None:
    assert line_of("plain", other=1).endswith(": plain\n")
    assert line_of("plain", model="m").endswith(": plain model=m\n")


def test_line_begins_with_its_time_to_the_millisecond() -> None:
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} WARNING ", line_of("x"))


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a\nb", "a\\nb"),
        ("a\rb", "a\\rb"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\0\x07\x7f\x9b", "\\x00\\x07\\x7f\\x9b"),
        ("\u2028\u202e\ufeff", "\\u2028\\u202e\\ufeff"),
        ("\ud800", "\\ud800"),
        ("\U000e0001", "\\U000e0001"),
        ("caf\u00e9 \u6a21 \U0001f600 'q' \\", "caf\u00e9 \u6a21 \U0001f600 'q' \\"),
    ],
)
def test_control_characters_are_escaped(text: str, escaped: str) -> None:
    assert escape(text) == escaped
    assert line_of("%s", text).endswith(f": {escaped}\n")
    assert line_of("x", model=text).endswith(f": x model={escaped}\n")


@given(st.text(st.characters(), max_size=30))
def test_one_event_is_one_line_whatever_it_says(text: str) -> None:
    line = line_of("%s", text, model=text)
    assert line.count("\n") == 1
    assert line.removesuffix("\n").isprintable()


def test_trace_of_an_exception_holds_no_control_characters() -> None:
    try:
        raise ValueError("\x1b[2J\rfake\nline")
    except ValueError:
        first, *trace = line_of("tick failed", exc_info=sys.exc_info()).splitlines()
    assert first.endswith(": tick failed")
    assert trace[0] == "Traceback (most recent call last):"
    assert "ValueError: \\x1b[2J" in trace
    assert all(line.isprintable() for line in trace)


def test_configure_takes_over_the_package_and_quietens_uvicorn(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with restored():
        configure("DEBUG", "text")
        configure("DEBUG", "text")  # and still one line per event
        logging.getLogger("model_deployment.x").debug("ours")
        logging.getLogger("uvicorn.error").info("chatter")
        logging.getLogger("uvicorn.error").error("trouble")
        first, second = capsys.readouterr().err.splitlines()
        assert first.endswith("DEBUG model_deployment.x: ours")
        assert second.endswith("ERROR uvicorn.error: trouble")


def test_tail_has_the_last_lines(logs: LaunchLogs) -> None:
    write(logs, "a", "one\ntwo\nthree\nunfinished")
    assert logs.tail("a", 2) == "three\nunfinished\n"
    assert logs.tail("a", 99) == "one\ntwo\nthree\nunfinished\n"
    assert logs.tail("a", 0) == ""


def test_launch_that_wrote_nothing_has_no_tail(logs: LaunchLogs) -> None:
    assert logs.tail("none", 10) == ""
    assert logs.ending("none") == ""


def test_tail_cannot_steer_a_terminal(logs: LaunchLogs) -> None:
    write(logs, "a", b"\x1b]0;title\x07\x1b[31mred\tcaf\xc3\xa9 \xff\x00\x9b\n")
    expected = "\\x1b]0;title\\x07\\x1b[31mred\tcaf\u00e9 \ufffd\\x00\ufffd\n"
    assert logs.tail("a", 1) == expected


@given(content=st.binary(max_size=200), lines=st.integers(0, 5))
def test_tail_of_anything_is_printable_lines(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, lines: int
) -> None:
    logs = LaunchLogs(tmp_path_factory.getbasetemp(), LIMIT)
    write(logs, "any", content)
    tail = logs.tail("any", lines)
    shown = tail.split("\n")[:-1]
    assert len(shown) <= lines
    assert all(line.replace("\t", "").isprintable() for line in shown)
    assert logs.ending("any") == logs.tail("any", 600)


def test_tail_reads_only_the_end_of_a_large_file(logs: LaunchLogs) -> None:
    path = write(logs, "a", "first\n")
    os.truncate(path, 8 * 1024 * 1024 * 1024)  # sparse; read whole, it would not fit
    with path.open("ab") as file:
        file.write(b"\nlast\n")
    assert logs.tail("a", 1) == "last\n"


def names(logs: LaunchLogs) -> set[str]:
    return {path.name for path in logs.root.iterdir()}


def test_tidying_removes_the_logs_of_other_launches(logs: LaunchLogs) -> None:
    for name in ("kept", "old", "kept2"):
        write(logs, name, "x")
        (logs.root / f"{name}.log.1").write_text("x")
    (logs.root / "other.txt").write_text("x")
    logs.tidy(["kept"])
    assert names(logs) == {"kept.log", "kept.log.1", "other.txt"}


def test_tidying_keeps_the_logs_of_our_own_programs(logs: LaunchLogs) -> None:
    for name in ("worker", "drain", "proxy"):
        write(logs, name, b"x" * (LIMIT + 1))
    logs.tidy([])
    kept = {f"{name}.log{more}" for name in ("worker", "drain", "proxy") for more in ("", ".1")}
    assert names(logs) == kept


def test_tidying_leaves_logs_within_the_limit_alone(logs: LaunchLogs) -> None:
    path = write(logs, "a", b"x" * LIMIT)
    logs.tidy(["a"])
    assert names(logs) == {"a.log"}
    assert path.stat().st_size == LIMIT


def test_log_that_grew_too_long_is_cut_while_the_model_writes(logs: LaunchLogs) -> None:
    # As the runtime opens it for a model, which keeps its descriptor.
    path = logs.path("a")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, b"x" * LIMIT + b"end\n")
        logs.tidy(["a"])
        old = logs.root / "a.log.1"
        assert old.read_bytes() == b"x" * LIMIT + b"end\n"
        assert path.read_bytes() == b""
        os.write(descriptor, b"after\n")
        assert path.read_bytes() == b"after\n"  # at the new end, not beyond a hole
        # What was cut away is still read.
        assert logs.tail("a", 2) == "x" * LIMIT + "end\nafter\n"
        assert logs.tail("a", 1) == "after\n"

        os.write(descriptor, b"y" * LIMIT)
        logs.tidy(["a"])
        assert old.read_bytes() == b"after\n" + b"y" * LIMIT
        logs.tidy(["a"])  # what was cut is not cut again
        assert old.read_bytes() == b"after\n" + b"y" * LIMIT
    finally:
        os.close(descriptor)


def test_cut_end_is_as_private_as_the_log(logs: LaunchLogs) -> None:
    write(logs, "a", b"x" * (LIMIT + 1)).chmod(0o600)
    logs.tidy(["a"])
    assert stat.S_IMODE((logs.root / "a.log.1").stat().st_mode) == 0o600


def test_log_that_vanishes_meanwhile_does_not_stop_the_tidying(
    logs: LaunchLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    present = write(logs, "old", "x")
    monkeypatch.setattr(Path, "glob", lambda *_: [logs.path("gone"), logs.path("kept"), present])
    logs.tidy(["kept"])
    assert names(logs) == set()


def test_full_disk_does_not_keep_a_log_from_being_cut(
    logs: LaunchLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfile", full)
    path = write(logs, "a", b"x" * (LIMIT + 1))
    logs.tidy(["a"])
    assert path.stat().st_size == 0
