"""What top shows: rates between two looks, whatever the counters do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from model_deployment.cli import top, traffic
from model_deployment.cli.main import app
from model_deployment.cli.traffic import Look, percentile, rates, read, rows

PAGE = """\
# TYPE model_deployment_requests_total counter
model_deployment_requests_total{model="a",outcome="answered",version="1"} 40
model_deployment_requests_total{model="a",outcome="model_failed",version="1"} 2
# TYPE model_deployment_caller_errors counter
model_deployment_caller_errors_total{model="a",version="1"} 4
# TYPE model_deployment_model_errors counter
model_deployment_model_errors_total{model="a",version="1"} 2
# TYPE model_deployment_request_duration_seconds histogram
model_deployment_request_duration_seconds_bucket{le="0.01",model="a",version="1"} 30
model_deployment_request_duration_seconds_bucket{le="+Inf",model="a",version="1"} 40
# TYPE model_deployment_queue_requests gauge
model_deployment_queue_requests{model="a",version="1"} 3
# TYPE model_deployment_proportional_memory_bytes gauge
model_deployment_proportional_memory_bytes{model="a",version="1"} 30e6
"""


def deployed(name: str, state: str = "ready") -> dict[str, object]:
    return {
        "name": name,
        "state": state,
        "reason": "healthy" if state == "ready" else "broke",
        "restarts": 0,
    }


def test_troubled_ones_come_first_then_the_busy_ones() -> None:
    before = Look(0.0, ())
    now = read(PAGE, (deployed("b-1"), deployed("a-1"), deployed("c-1", "failed")), 2.0)
    assert rows(before, now) == [
        ("c-1", "failed", "0", "0", "0", "", "0", "", 0, "broke"),
        ("a-1", "ready", "21.0", "2.0", "1.0", "10 ms", "3", "29 MB", 0, ""),
        ("b-1", "ready", "0", "0", "0", "", "0", "", 0, ""),
    ]
    assert traffic.headline(before, now) == (
        "1 failed, 2 ready; 21.0 requests/s, 2.0 refused, 1.0 failed; memory 29 MB"
    )


counts = st.dictionaries(st.sampled_from(["requests", "refused", "failed"]), st.floats(0, 1e6))


@given(counts, counts, st.floats(0, 10))
def test_rates_are_never_negative(
    old: dict[str, float], new: dict[str, float], seconds: float
) -> None:
    found = rates("a-1", Look(0, (), {"a-1": old}), Look(seconds, (), {"a-1": new}))
    assert min(found.values()) >= 0


@given(st.lists(st.integers(0, 50), min_size=3, max_size=3))
def test_percentile_is_the_limit_of_its_bucket(added: list[int]) -> None:
    limits = (0.01, 0.1, float("inf"))
    new = {limit: float(sum(added[: place + 1])) for place, limit in enumerate(limits)}
    found = percentile({}, new)
    if not sum(added):
        assert found is None
    else:
        below = next(limit for limit in limits if new[limit] >= 0.95 * sum(added))
        assert found == min(below, 0.1)


def test_without_a_terminal_each_look_is_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter(
        [Look(0, ()), read(PAGE, (deployed("a-1"),), 1), read(PAGE, (deployed("a-1"),), 2)]
    )
    monkeypatch.setattr(top, "controller_at", lambda url: None)
    monkeypatch.setattr(traffic, "look", lambda client: next(looks))
    done = CliRunner().invoke(app, ["top", "--interval", "0.2", "--count", "2"])
    assert done.exit_code == 0, done.output
    first, _, second = done.stdout.partition("\n\n")
    assert first.splitlines()[2].split()[:5] == ["a-1", "ready", "42.0", "4.0", "2.0"]
    assert second.splitlines()[2].split()[:5] == ["a-1", "ready", "0", "0", "0"]
