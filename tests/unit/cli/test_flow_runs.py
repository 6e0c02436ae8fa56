"""A command that follows a run prints each line once, and ends as the run does."""

from collections.abc import Iterator
from typing import Any, cast

import pytest
import typer

from model_deployment.cli import flow_runs

AT = "2026-01-31T12:00:05.5Z"
RUN: dict[str, Any] = {
    "id": "r", "run_id": "p", "flow": "train_flow", "experiment": "income", "state": "running",
    "message": "", "parameters": {"experiment": "income", "trials": 3}, "result": None,
    "requested_at": "2026-01-31T12:00:00Z", "started_at": "2026-01-31T12:00:05Z", "ended_at": None,
    "tasks": [],
}  # fmt: skip
DONE = RUN | {
    "state": "completed", "ended_at": "2026-01-31T12:01:05Z", "result": {"version": 3},
    "tasks": [
        {"name": "fit", "state": "completed", "started_at": AT, "ended_at": AT, "attempts": 1}
    ],
}  # fmt: skip


class Looks:
    """A client that answers what a run is at each look, and one more line of its log."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        self._rows: Iterator[dict[str, Any]] = iter(rows)
        self._lines = 0

    def flow_run(self, id: str) -> dict[str, Any]:
        self._lines += 1
        return next(self._rows)

    def flow_log(self, id: str, *, offset: int, limit: int, prefect: bool) -> list[dict[str, str]]:
        lines = [{"at": AT, "level": "INFO", "message": f"line {n}"} for n in range(self._lines)]
        return lines[offset:][:limit]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_runs, "_EVERY", 0)


def follow(*rows: dict[str, Any]) -> None:
    flow_runs._follow(cast(Any, Looks(*rows)), "r")


def test_each_line_is_printed_once_and_then_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    requested = RUN | {"state": "requested", "run_id": None, "message": "waits", "started_at": None}
    follow(requested, RUN, RUN, DONE)
    said = capsys.readouterr()
    assert [line for line in said.out.splitlines() if " INFO " in line] == [
        f"2026-01-31T12:00:05Z INFO    line {n}" for n in range(4)
    ]
    assert "train_flow of income: completed (run r)\ngiven: trials=3\n" in said.out
    assert "training: version 3" in said.out
    assert said.err == "requested: waits\nrunning\n"


def test_a_run_that_failed_fails_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as error:
        follow(DONE | {"state": "crashed", "message": "its process ended"})
    assert error.value.exit_code == 1
    assert "its process ended" in capsys.readouterr().out


def test_runs_are_lines_with_as_many_cells(capsys: pytest.CaptureFixture[str]) -> None:
    assert flow_runs._row(cast(Any, DONE | {"requested_by": "ann"})) == (
        "r", "train_flow", "income", "completed", "2026-01-31T12:00:00Z", "ann", "60.0s", "",
    )  # fmt: skip
