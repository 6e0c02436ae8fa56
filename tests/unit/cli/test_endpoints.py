"""The commands for endpoints, against the calls themselves in this process."""

import io
import json
import time
from dataclasses import replace
from typing import Any

import httpx
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from model_deployment.cli import endpoint_view, endpoints, live_view
from model_deployment.client import Client
from model_deployment.core.endpoints import Order, Rollout, RolloutKind, RolloutState
from model_deployment.core.rollout_policy import (
    Canary,
    Checks,
    GuardLimits,
    RolloutPolicy,
    ShadowPolicy,
)
from model_deployment.endpoints.views import EndpointView
from tests.support.in_this_process import InThisProcess
from tests.support.memory_endpoints import NAME, ROLLOUT, MemoryEndpoints, application, view_of


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> MemoryEndpoints:
    """The endpoints of the controller that commands call."""
    found = MemoryEndpoints()
    client = Client("http://test")
    transport = InThisProcess(application(found))
    client._http = httpx.Client(transport=transport, base_url="http://test")
    monkeypatch.setattr(endpoints, "controller_at", lambda url: client)
    monkeypatch.setattr(endpoints, "_EVERY", 0)
    return found


def run(*arguments: str) -> Result:
    return CliRunner().invoke(endpoints.app, [*arguments])


def rolled(**changes: Any) -> EndpointView:
    return replace(view_of(), rollout=replace(ROLLOUT, **changes))


def follow(kept: MemoryEndpoints, *views: EndpointView) -> None:
    """Let the endpoint change from one look to the next."""
    waiting = iter(views)

    async def get(name: Any) -> EndpointView:
        kept.views[NAME] = next(waiting)
        return kept.views[NAME]

    kept.get = get  # type: ignore[method-assign]


def test_set_makes_an_endpoint_and_then_changes_only_what_is_named(kept: MemoryEndpoints) -> None:
    made = run("set", "diabetes@champion")
    assert made.exit_code == 0, made.output
    assert made.stdout.startswith(
        "diabetes@champion is made: http://test/diabetes@champion\nversion 1 serves; "
    )
    assert kept.views[NAME].endpoint.policy == RolloutPolicy()
    changed = run(
        "set", "diabetes@champion", "--canary-steps", "10,50", "--canary-minutes", "30s",
        "--replay", "20", "--shadow-share", "5", "--no-guard-errors", "--keep-previous", "1h",
        "--recreate", "--idle-timeout", "30m", "--workers", "2", "--capture-hash", "name",
    )  # fmt: skip
    assert changed.stdout.startswith("diabetes@champion is changed: ")
    policy = RolloutPolicy(
        options={"idle_timeout": 1800.0, "workers": 2, "capture_hash": ["name"]},
        checks=Checks(replay=20, shadow=ShadowPolicy(share=5)),
        canary=Canary(steps=(10, 50), minutes=0.5),
        guard=GuardLimits(errors=False),
        keep_previous=3600,
        recreate=True,
    )
    assert kept.views[NAME].endpoint.policy == policy
    run("set", "diabetes@champion", "--shadow-minutes", "2", "--workers", "3")
    shadow = ShadowPolicy(share=5, minutes=2)
    assert kept.views[NAME].endpoint.policy == replace(
        policy, checks=Checks(replay=20, shadow=shadow), options={**policy.options, "workers": 3}
    )
    run("set", "diabetes@champion", "--shadow-share", "0", "--canary-steps", "none")
    found = kept.views[NAME].endpoint.policy
    assert (found.checks.shadow, found.canary.steps) == (None, ())


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["set", "diabetes@champion", "--canary-steps", "5;25"], 2, "no list of percentages"),
        (["set", "diabetes@champion", "--canary-steps", "25,5"], 1, "larger than the one before"),
        (["set", "diabetes@champion", "--canary-minutes", "soon"], 1, "a number of minutes"),
        (["set", "diabetes"], 1, "addressed as <model>@<alias>"),
        (["set", "other@champion"], 1, "no model other"),
        (["show", "diabetes@champion"], 1, "cannot find the endpoint diabetes@champion"),
        (["promote", "diabetes@champion"], 1, "cannot find the endpoint"),
    ],
)
def test_refusals_are_told(
    kept: MemoryEndpoints, arguments: list[str], status: int, said: str
) -> None:
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (status, "")
    assert said in " ".join(done.stderr.replace("│", "").split())
    assert not kept.views


def test_list_and_show(kept: MemoryEndpoints) -> None:
    assert "There are no endpoints" in run("list").stdout
    kept.views[NAME] = view_of()
    heading, line, *_ = run("list").stdout.splitlines()
    assert heading.split() == ["NAME", "DEFAULT", "SERVES", "STATUS"]
    assert line.split()[:4] == ["diabetes@champion", "-", "1", "version"]
    assert json.loads(run("list", "--json").stdout)[0]["name"] == "diabetes@champion"
    assert json.loads(run("show", "diabetes@champion", "--json").stdout)["rollout"]["id"] == 7
    assert (
        run("show", "diabetes@champion").stdout
        == """\
diabetes@champion  http://test/diabetes@champion
  version 1    champion   ###################.   95 % ready
  version 2    candidate  #...................    5 % ready
rollout 7: version 2 against version 1
  deploying > checking > replaying > [canary 5 %, step 1 of 3] > promoted
  12 of 50 requests answered at 5 %
  check: passed: the example is predicted
guards: inconclusive: 38 more requests are needed
  errors      inconclusive 0 of 12 and 1 of 240 requests failed (evidence 0.3 of 100)
"""
    )


@pytest.mark.parametrize(
    ("changes", "stages"),
    [
        ({"champion": None}, "[deploying] > checking > promoted"),
        ({"kind": RolloutKind.BACK}, "[deploying] > promoted"),
    ],
    ids=["the first version", "a way back"],
)
def test_stages_that_a_rollout_does_not_have_are_not_shown(
    kept: MemoryEndpoints, changes: dict[str, Any], stages: str
) -> None:
    kept.views[NAME] = rolled(state=RolloutState.DEPLOYING, **changes)
    assert stages in run("show", "diabetes@champion").stdout


def test_orders_and_the_end_of_an_endpoint(kept: MemoryEndpoints) -> None:
    kept.views[NAME] = view_of()
    for order in ("promote", "pause", "resume", "rollback"):
        done = run(order, "diabetes@champion")
        assert (done.exit_code, done.stdout[:35]) == (0, "diabetes@champion: version 1 serves")
    assert [order for order, *_ in kept.orders] == ["promote", "pause", "resume", "rollback"]
    assert "diabetes@champion is deleted" in run("delete", "diabetes@champion").stdout
    assert kept.views == {}


def test_compare_tells_the_verdict_first(kept: MemoryEndpoints) -> None:
    kept.views[NAME] = view_of()
    lines = run("compare", "diabetes@champion").stdout.splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "rolled back: it fails more requests",
        "diabetes@champion, rollout 7: version 2 against version 1",
        "STAGE VERSION REQUESTS FAILED P50 MS P95 MS",
        "canary 1 (champion) 1000 1 (0.1 %) 2.5 -",
        "canary 2 (candidate) 50 5 (10 %) 2.5 -",
        "check: passed: the example is predicted",
        "replay: passed: the answers agree",
        "replay: predictions of 500 rows differ by 1.25; spread 70.5",
        "replay: rmse 53.4 of the champion on 300 rows, 52.1 of the candidate on 300 rows",
    ]


def test_compare_writes_the_page(kept: MemoryEndpoints, tmp_path: Any) -> None:
    kept.views[NAME] = view_of()
    file = tmp_path / "page.html"
    assert run("compare", "diabetes@champion", "--rollout", "7", "--html", str(file)).exit_code == 0
    assert file.read_text() == "<p>rolled_back"
    done = run("compare", "diabetes@champion", "--html", str(tmp_path / "no" / "x"))
    assert (done.exit_code, "cannot write" in done.stderr) == (1, True)


def test_follow_prints_a_line_for_each_change_until_the_end(kept: MemoryEndpoints) -> None:
    views = [
        view_of(),
        rolled(step=1, reason="0 of 50 answered"),
        rolled(step=1, reason="0 of 50 answered", order=Order.PAUSE),
        rolled(state=RolloutState.ROLLED_BACK, reason="it fails more requests"),
    ]
    follow(kept, views[0], *views)
    done = run("show", "diabetes@champion", "--follow")
    paused = ["", "", " (paused at canary 25 %, step 2 of 3)", ""]
    assert done.stdout.splitlines() == [
        f"diabetes@champion: {view.status}{more}" for view, more in zip(views, paused, strict=True)
    ]
    assert done.exit_code == 1
    promoted = replace(
        view_of(champion=2), rollout=replace(ROLLOUT, state=RolloutState.PROMOTED, reason="")
    )
    follow(kept, view_of(), promoted)
    done = run("show", "diabetes@champion", "--follow", "--json")
    assert [json.loads(line)["champion"] for line in done.stdout.splitlines()] == [1, 2]
    assert done.exit_code == 0


def test_follow_waits_for_a_rollout_that_has_not_begun(
    kept: MemoryEndpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle = replace(view_of(alias_version=1), rollout=None)
    follow(kept, idle, idle, view_of(), rolled(state=RolloutState.PROMOTED, reason="done"))
    done = run("show", "diabetes@champion", "--follow")
    assert (done.exit_code, len(done.stdout.splitlines())) == (0, 3)
    monkeypatch.setattr(endpoints, "_BEGINS", 0)
    follow(kept, idle)
    assert run("show", "diabetes@champion", "--follow").stdout == (
        "diabetes@champion: version 1 serves\n"
    )


def test_follow_redraws_in_place_on_a_terminal(
    kept: MemoryEndpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(live_view, "out", Console(file=screen, force_terminal=True, width=100))
    follow(kept, view_of(), rolled(state=RolloutState.PROMOTED, reason="all steps passed"))
    assert run("show", "diabetes@champion", "--follow").exit_code == 0
    first, _, last = screen.getvalue().partition("promoted: all steps passed")
    assert "[canary 5 %, step 1 of 3]" in first
    assert first.count("\x1b[1A") >= 8  # up again, over all lines of the first frame
    assert "guards: inconclusive" in last


def test_follow_leaves_quietly_when_it_is_interrupted(
    kept: MemoryEndpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    kept.views[NAME] = view_of()
    monkeypatch.setattr(time, "sleep", interrupted)
    done = run("show", "diabetes@champion", "--follow")
    assert (done.exit_code, done.stderr) == (130, "the rollout goes on without this view\n")


@pytest.mark.parametrize(
    ("rollout", "champion", "alias", "ended"),
    [
        (None, 1, 1, True),
        # The first rollout of a new endpoint has not begun.
        (None, None, 1, False),
        (None, None, None, True),
        (ROLLOUT, 1, 2, False),
        (replace(ROLLOUT, state=RolloutState.ROLLED_BACK), 1, 2, True),
        # The alias moved on: the next rollout follows, unless it moved back.
        (replace(ROLLOUT, state=RolloutState.SUPERSEDED), 1, 3, False),
        (replace(ROLLOUT, state=RolloutState.SUPERSEDED), 1, 1, True),
        (replace(ROLLOUT, state=RolloutState.SUPERSEDED), 1, None, True),
    ],
)
def test_a_view_ends_with_the_last_rollout(
    rollout: Rollout | None, champion: int | None, alias: int | None, ended: bool
) -> None:
    shown = {
        "rollout": rollout and {"state": rollout.state, "active": rollout.active},
        "champion": champion,
        "alias_version": alias,
    }
    assert endpoint_view.ended(shown) is ended
