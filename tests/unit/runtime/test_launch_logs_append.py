"""Lines that the controller adds to the log of a model."""

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.runtime.log_lines import MessageFilter
from model_deployment.runtime.logs import LaunchLogs


@pytest.fixture
def logs(tmp_path: Path) -> LaunchLogs:
    return LaunchLogs(tmp_path, 4096)


def test_lines_go_to_the_end_of_a_log(logs: LaunchLogs) -> None:
    logs.path("a").write_text("the model's own\n")
    logs.append("a", "request 7: status 500\n\n")
    logs.append("a", "one\ntwo")
    assert logs.tail("a", 9) == "the model's own\nrequest 7: status 500\none\ntwo\n"
    lines = logs.search("a", 9, MessageFilter())
    assert [line.at is not None for line in lines] == [False, True, True, True]


def test_launch_without_a_log_does_not_get_one(logs: LaunchLogs) -> None:
    logs.append("gone", "x")
    assert [*logs.root.iterdir()] == []


def test_folder_that_is_gone_is_no_error(tmp_path: Path) -> None:
    LaunchLogs(tmp_path / "gone", 1).append("a", "x")


def test_added_lines_cannot_steer_a_terminal(logs: LaunchLogs) -> None:
    logs.path("a").touch()
    logs.append("a", "\x1b]0;title\x07\x1b[31mred\x00\x9b\u202e")
    assert logs.tail("a", 9) == "\\x1b]0;title\\x07\\x1b[31mred\\x00\\x9b\\u202e\n"


@given(st.text(st.characters(), max_size=40))
def test_any_text_can_be_added_and_is_printable(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    logs = LaunchLogs(tmp_path_factory.getbasetemp(), 4096)
    logs.path("any").write_bytes(b"")
    logs.append("any", text)
    assert logs.path("any").read_bytes().endswith(b"\n")
    shown = logs.tail("any", 99).split("\n")
    assert all(line.replace("\t", "").isprintable() for line in shown)


def test_symbolic_link_is_not_followed(logs: LaunchLogs, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("safe")
    logs.path("a").symlink_to(target)
    logs.append("a", "x")
    assert target.read_text() == "safe"


def test_fifo_without_a_reader_holds_nothing_up(logs: LaunchLogs) -> None:
    os.mkfifo(logs.path("a"))
    writer = threading.Thread(target=logs.append, args=("a", "x"), daemon=True)
    writer.start()
    writer.join(10)
    assert not writer.is_alive()


def test_fifo_that_is_full_holds_nothing_up(logs: LaunchLogs) -> None:
    os.mkfifo(logs.path("a"))
    reader = os.open(logs.path("a"), os.O_RDONLY | os.O_NONBLOCK)
    try:
        writer = threading.Thread(target=logs.append, args=("a", "x" * 1_000_000), daemon=True)
        writer.start()
        writer.join(10)
        assert not writer.is_alive()
    finally:
        os.close(reader)


def test_folder_in_the_place_of_a_log_is_left_alone(logs: LaunchLogs) -> None:
    logs.path("a").mkdir()
    logs.append("a", "x")
    assert [*logs.path("a").iterdir()] == []


def test_log_that_was_cut_goes_on_at_its_new_end(logs: LaunchLogs) -> None:
    logs.path("a").write_bytes(b"x" * 5000)
    logs.tidy(["a"])
    logs.append("a", "after")
    assert logs.path("a").read_bytes().endswith(b"Z after\n")
    assert logs.path("a").stat().st_size < 99
