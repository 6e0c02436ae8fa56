"""A comparison says the verdict and its reason first, and shows what is known of each stage."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.core.endpoints import Rollout, RolloutState
from model_deployment.core.rollout_counts import ArmCounts, StageCounts
from model_deployment.documents.base import Collection
from model_deployment.endpoints.comparison.comparison import comparison
from model_deployment.endpoints.comparison.page import render
from model_deployment.endpoints.comparison.parts import unpaired_predictions, wilson
from model_deployment.endpoints.findings import CandidateFinding, Outcome
from tests.support.endpoint_views import NOW, endpoint, rollout
from tests.support.memory_documents import MemoryDocuments

_SHADOW = StageCounts(
    ArmCounts(60, {}, {20: 60}), ArmCounts(60, {"502": 3}, {24: 57}), candidate_only=3, dropped=4
)
_CANARY = StageCounts(ArmCounts(90, {"504": 1}, {20: 89}), ArmCounts(30, {"refused": 2}, {30: 28}))
_REPLAY = CandidateFinding(
    Outcome.PASSED,
    "40 captured requests replayed",
    {
        "counts": StageCounts(ArmCounts(40, {}, {20: 40}), ArmCounts(40, {}, {22: 40})).as_dict(),
        "predictions": {
            "rows": 80, "kind": "amounts", "difference": 0.5, "spread": 12.0, "beyond_spread": False
        },
        "quality": {"metric": "rmse", "champion": 4.0, "candidate": 3.5, "p": 0.9},
        "captured": 43, "usable": 40, "unusable": {"hidden": 3}, "hidden_columns": ["ssn"],
        "sent": 40, "seconds": 2.5,
    },
)  # fmt: skip
_CHECK = CandidateFinding(Outcome.PASSED, "version 2 answers its own input example", {})


def shown(**changes: Any) -> Rollout:
    """A rollout with evidence of every stage."""
    evidence = {
        "check": _CHECK.as_dict(),
        "replay": _REPLAY.as_dict(),
        "counts": {
            "a": {"shadow": _SHADOW.as_dict(), "canary-0": _CANARY.as_dict()},
            "b": {"canary-0": _CANARY.as_dict(), "canary-1": _CANARY.as_dict()},
        },
    }
    return rollout(**{"evidence": evidence, **changes})


def stored() -> MemoryDocuments:
    """Requests of both versions during the rollout, the shadows among them, all with labels."""
    store = MemoryDocuments()
    for place in range(30):
        for version in (1, 2):
            common = {"model": "diabetes", "version": version, "request_id": f"r{version}-{place}"}
            ts = NOW - timedelta(minutes=8, seconds=-place)
            store.kept[Collection.CAPTURES].append(
                common
                | {"_id": f"{version}/{place}", "ts": ts, "latency_ms": 3.0,
                   "predictions": [place + 0.25 * version]}
            )  # fmt: skip
            label = {"_id": f"{version}/{place}#0", "ts": ts, "row": 0, "label": place}
            store.kept[Collection.LABELS].append(common | label)
        store.kept[Collection.SHADOWS].append({
            "_id": f"s{place}", "model": "diabetes", "version": 2, "request_id": f"r1-{place}",
            "ts": NOW - timedelta(minutes=8), "rollout": 1, "status": 200 if place else 502,
            "predictions": [place + 0.75] if place else None, "latency_ms": 4.0,
        })  # fmt: skip
    return store


async def test_figures_of_all_stages() -> None:
    found = await comparison(endpoint(), shown(), stored().store)
    assert [*found][:2] == ["verdict", "reason"]
    assert (found["verdict"], found["note"]) == ("undecided", "")
    assert found["canary"]["candidate"]["requests"] == 90
    assert found["canary"]["candidate"]["failures"] == {"refused": 6}
    assert [one["stage"] for one in found["canary_steps"]] == ["canary-0", "canary-1"]
    assert found["replay"]["candidate"]["error_rate"] == 0
    assert found["shadow"]["candidate_only"] == 3
    assert found["shadow"]["predictions"]["rows"] == 29
    assert found["shadow"]["predictions"]["difference"] == pytest.approx(0.5)
    assert found["shadow"]["quality"]["candidate"] == pytest.approx(0.75)
    assert found["canary"]["predictions"]["difference"] == pytest.approx(0.25)
    assert found["canary"]["quality"]["champion"] == pytest.approx(0.25)
    low, high = found["canary"]["quality"]["candidate_interval"]
    assert low <= 0.5 <= high


async def test_a_store_that_is_away_is_said() -> None:
    store = stored()
    store.breaks_after = 0
    found = await comparison(endpoint(), shown(), store.store)
    assert found["canary"]["candidate"]["requests"] == 90
    assert "it went away" in found["note"]


@pytest.mark.parametrize("state", [*RolloutState])
async def test_every_state_has_a_page(state: RolloutState) -> None:
    found = await comparison(
        endpoint(), shown(state=state, reason="<b>because</b>"), stored().store
    )
    page = render(found)
    assert "&lt;b&gt;because&lt;/b&gt;" in page
    assert page.index("Version 2") < page.index("because") < page.index("Canary")
    assert "http" not in page.lower().replace("http-equiv", "")


@pytest.mark.parametrize("champion", [None, 1])
async def test_a_rollout_without_evidence_has_a_page(champion: int | None) -> None:
    found = await comparison(endpoint(), rollout(champion=champion, evidence={}), None)
    assert "Nothing has been compared yet." in render(found)


@given(st.integers(0, 500), st.integers(1, 500))
def test_an_interval_holds_its_share(events: int, more: int) -> None:
    found = wilson(events, events + more)
    assert found is not None
    low, high = found
    assert 0 <= low <= events / (events + more) <= high <= 1


def test_predictions_of_different_rows() -> None:
    found = unpaired_predictions([1.5, 2.5, 3.5], [11.5, 12.5, 13.5])
    assert found is not None
    assert (found["difference"], found["beyond_spread"]) == (10.0, True)
    found = unpaired_predictions(["a", "a", "b", "b"], ["a", "b", "b", "b"])
    assert found is not None
    assert (found["kind"], found["difference"]) == ("classes", 0.25)
    assert unpaired_predictions([], ["a"]) is None
