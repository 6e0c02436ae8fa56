"""Commands that wait for a deployment end when it is as wanted, or with the reason why it is not."""

from collections.abc import Iterator
from typing import Any, cast

import pytest
import typer

from model_deployment.cli import following
from model_deployment.cli.changes import _serves
from model_deployment.cli.following import Following, is_changing

READY: dict[str, Any] = {"state": "ready", "reason": "healthy", "replacement": None}


def changing(state: str, reason: str = "why") -> dict[str, Any]:
    under_way = state in ("pending", "starting", "stopping")
    return READY | {"replacement": {"state": state, "under_way": under_way, "reason": reason}}


class Looks:
    """A client that answers what a deployment is at each look."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        self._rows: Iterator[dict[str, Any]] = iter(rows)

    def deployment(self, name: str) -> dict[str, Any]:
        return next(self._rows)


def follow(first: dict[str, Any], *rows: dict[str, Any]) -> Any:
    client = cast(Any, Looks(*rows))
    it = Following(client, "wine-1", "deploy", timeout=60)
    return it.until(first, _serves, with_log=False)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_EVERY", 0)


@pytest.mark.parametrize("state", ["failed", "retiring"])
def test_a_change_that_was_over_before_is_not_waited_for(state: str) -> None:
    row = changing(state, "Monday's reason")
    assert follow(row) is row
    starting = row | {"state": "starting"}
    assert follow(starting, starting, row) is row


@pytest.mark.parametrize("state", ["pending", "starting", "stopping"])
def test_a_change_that_fails_ends_the_command(
    state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert is_changing(changing(state))
    with pytest.raises(typer.Exit) as error:
        follow(changing(state), changing("failed", "it broke"))
    assert error.value.exit_code == 1
    text = "cannot deploy wine-1: it broke; the launch before serves on"
    assert text in " ".join(capsys.readouterr().err.split())


def test_a_deployment_that_fails_ends_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    failed = READY | {"state": "failed", "reason": "it broke"}
    with pytest.raises(typer.Exit):
        follow(READY | {"state": "starting"}, failed)
    assert "cannot deploy wine-1: it broke\n" in capsys.readouterr().err
