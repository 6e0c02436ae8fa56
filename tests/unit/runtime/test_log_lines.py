"""Lines of logs: their times and levels, and which are one message."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.runtime.log_lines import (
    LogLevel,
    LogLine,
    MessageFilter,
    messages,
    read,
    untimed,
)

T1, T2, T3 = (f"2026-11-29T03:04:0{n}.500Z" for n in (1, 2, 3))
LOG = f"""\
from an earlier release
{T1} INFO:     Application startup complete.
{T1} Exception in a prediction
{T1} Traceback (most recent call last):
{T1}   File "m.py", line 3, in predict
{T1}     f()
{T1} ValueError: no
{T1}
{T1} During handling of the above exception, another exception occurred:
{T1}
{T1} Traceback (most recent call last):
{T1}   File "m.py", line 5, in predict
{T1} KeyError: 'x'
written by C
{T2} 2026/11/29 03:04:02 WARNING mlflow.pyfunc: versions differ
{T2} request 6: answered 502 (Model failed); the model server answered 400: Failed to predict data 'x
{T2} 17'.
{T2} Error: cannot reach the table
{T3} plain
{T3} request 7: answered 502 (Model failed); its server: Traceback (most recent call last):
{T3}   File "m.py", line 3, in predict
{T3} ValueError: Fünf
"""
READ = [*read(LOG.splitlines())]
MESSAGES = [*messages(READ)]


def test_lines_that_belong_together_are_one_message() -> None:
    assert [(len(one), one[0].text.split()[0], one[0].level) for one in MESSAGES] == [
        (1, "from", None),
        (1, "INFO:", LogLevel.INFO),
        (11, "Exception", LogLevel.ERROR),
        (1, "written", None),
        (1, "2026/11/29", LogLevel.WARNING),
        (3, "request", LogLevel.ERROR),
        (1, "plain", None),
        (3, "request", LogLevel.ERROR),
    ]


def test_a_line_without_a_time_has_that_of_the_line_before() -> None:
    assert READ[0] == LogLine(None, "from an earlier release")
    (c,) = MESSAGES[3]
    assert (c.at, str(c)) == (T1, f"{T1} written by C")


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (MessageFilter(), 8),
        (MessageFilter("FÜNF"), 1),
        (MessageFilter("line 3"), 2),
        (MessageFilter(level=LogLevel.DEBUG), 5),
        (MessageFilter(level=LogLevel.WARNING), 4),
        (MessageFilter(level=LogLevel.ERROR, search="keyerror"), 1),
        (MessageFilter(since=datetime(2026, 11, 29, 3, 4, 2, 500_000, UTC)), 4),
        (MessageFilter(until=datetime(2026, 11, 29, 3, 4, 2, tzinfo=UTC)), 3),
        (MessageFilter(since=datetime(2026, 11, 29, 3, 4, 4, tzinfo=UTC)), 0),
    ],
)
def test_messages_are_selected_as_a_whole(wanted: MessageFilter, found: int) -> None:
    assert len([one for one in MESSAGES if wanted(one)]) == found


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("ERROR:root:no", LogLevel.ERROR),
        ("[WARNING] low", LogLevel.WARNING),
        ("2026-11-29 03:04:02,123 DEBUG my.module: x", LogLevel.DEBUG),
        ("E1129 03:04:02.000001 1 cuda.cc:1] no device", LogLevel.ERROR),
        ("/site/sklearn/base.py:442: InconsistentVersionWarning: unpickled", LogLevel.WARNING),
        ("Fatal Python error: Segmentation fault", LogLevel.ERROR),
        ("Information about INFO", None),
        ("Errors: 0", None),
    ],
)
def test_levels_are_those_that_libraries_write(line: str, level: LogLevel | None) -> None:
    assert next(messages(read([line])))[0].level is level


@given(
    st.lists(st.sampled_from(LOG.splitlines()) | st.text(st.characters(exclude_characters="\n")))
)
def test_no_line_is_lost_or_changed(lines: list[str]) -> None:
    found = [line.text for message in messages(read(lines)) for line in message]
    assert found == [untimed(line) for line in lines]
