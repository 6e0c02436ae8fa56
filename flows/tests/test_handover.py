"""What a run concludes from what an endpoint says."""

from collections.abc import Iterator
from typing import Any

import pytest
from model_deployment_flows import handover
from model_deployment_flows.handover import Handover, Outcome

from model_deployment.client import ApiError, Unreachable


def _rollout(state: str, candidate: int = 2, id: int = 7, reason: str = "") -> dict[str, Any]:
    return {"id": id, "candidate": candidate, "state": state, "reason": reason}


def _endpoint(champion: int | None, *rollouts: dict[str, Any], alias: int = 2) -> dict[str, Any]:
    return {
        "champion": champion,
        "alias_version": alias,
        "rollout": rollouts[0] if rollouts else None,
        "rollouts": [*rollouts],
        "notice": "",
    }


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        (_endpoint(1), Handover(Outcome.UNDECIDED, "waiting for the endpoint", 1)),
        (
            _endpoint(1, _rollout("canary", reason="12 of 50 requests")),
            Handover(Outcome.UNDECIDED, "12 of 50 requests", 1),
        ),
        (_endpoint(2, _rollout("promoted")), Handover(Outcome.SERVES, "", 2)),
        (
            _endpoint(1, _rollout("rolled_back", reason="fails more requests")),
            Handover(Outcome.ROLLED_BACK, "fails more requests", 1),
        ),
        (
            _endpoint(
                1, _rollout("canary", 3, 8), _rollout("superseded", reason="names version 3")
            ),
            Handover(Outcome.SUPERSEDED, "names version 3", 1),
        ),
    ],
)
def test_the_state_of_a_rollout_is_the_outcome(endpoint: Any, expected: Handover) -> None:
    assert handover.look(endpoint, 2) == expected


class _Client:
    """Answers what it is given, one after the other; the last one for ever."""

    def __init__(self, *answers: Any) -> None:
        self._answers: Iterator[Any] = iter(answers)
        self._last: Any = None

    def endpoint(self, name: str) -> Any:
        self._last = next(self._answers, self._last)
        if isinstance(self._last, Exception):
            raise self._last
        return self._last


def _followed(client: _Client, wait: float, after: int = 0) -> tuple[Handover, list[str]]:
    lines: list[str] = []
    found = handover.follow(
        client,  # type: ignore[arg-type]
        "tiny@champion",
        2,
        after=after,
        wait=wait,
        told=lines.append,
        pause=lambda seconds: None,
    )
    return found, lines


def test_a_controller_that_is_away_is_asked_again() -> None:
    client = _Client(
        _endpoint(1, _rollout("replaying")),
        Unreachable("connection refused"),
        _endpoint(2, _rollout("promoted")),
    )
    found, lines = _followed(client, wait=60)
    assert found.outcome is Outcome.SERVES
    assert len(lines) == 3
    assert "does not answer: connection refused" in lines[1]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_controller_that_refuses_is_not_asked_again(status: int) -> None:
    client = _Client(ApiError(status, {"detail": "no"}), _endpoint(2, _rollout("promoted")))
    found, lines = _followed(client, wait=60)
    assert found.outcome is Outcome.UNDECIDED
    assert lines == ["tiny@champion: version 2: undecided: the controller refuses to say: no"]


@pytest.mark.parametrize("status", [429, 503])
def test_a_controller_that_is_busy_is_asked_again(status: int) -> None:
    client = _Client(ApiError(status, {"detail": "busy"}), _endpoint(2, _rollout("promoted")))
    assert _followed(client, wait=60)[0].outcome is Outcome.SERVES


def test_an_earlier_rollout_of_the_version_decides_nothing() -> None:
    earlier = _endpoint(1, _rollout("rolled_back", id=3))
    assert _followed(_Client(earlier), wait=0, after=3)[0].outcome is Outcome.UNDECIDED
    now = _endpoint(1, _rollout("rolled_back", id=4), _rollout("rolled_back", id=3))
    assert _followed(_Client(earlier, now), wait=60, after=3)[0].outcome is Outcome.ROLLED_BACK


def test_the_wait_is_bounded() -> None:
    found, _ = _followed(_Client(_endpoint(1, _rollout("canary"))), wait=0)
    assert found.outcome is Outcome.UNDECIDED


def test_a_version_that_was_rolled_back_has_to_be_tried_again_by_hand() -> None:
    assert handover.is_refused(_endpoint(1, _rollout("rolled_back")), 2)  # type: ignore[arg-type]
    assert not handover.is_refused(_endpoint(1, _rollout("canary")), 2)  # type: ignore[arg-type]
    assert not handover.is_refused(_endpoint(2, _rollout("promoted")), 2)  # type: ignore[arg-type]
