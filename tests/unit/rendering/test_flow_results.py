"""Results of flows are read into parts, whatever is in them."""

from typing import Any

import pytest

from model_deployment.cli.flow_result_view import result_lines
from model_deployment.rendering import flow_results

TRAINING = {
    "version": 2, "model": "income", "trained": True, "model_type": "random_forest", "trials": 3,
    "failed_trials": 1, "params": {"model_type": "random_forest", "depth": 3},
    "metrics": {"f1_score": 0.719211},
}  # fmt: skip
EVALUATION = {
    "model": "income", "candidate": 2, "champion": 1, "verdict": "passed", "reasons": ["because"],
    "data": {"new": {"rows": 846, "candidate": {"f1_score": 0.7}, "champion": {"f1_score": 0.5}}},
}  # fmt: skip
FULL = {
    "data": {"data_sha256": "ab" * 32, "findings": {"error": 0, "warning": 2, "info": 1}},
    "training": TRAINING,
    "evaluation": EVALUATION,
    "deployment": {"version": 2, "endpoint": "income@champion", "outcome": "rolled_back",
                   "reason": "slow"},
}  # fmt: skip


def test_a_full_flow_has_all_parts_in_words() -> None:
    assert [line for line in result_lines("full_flow", FULL) if line] == [
        "data: 2 warnings, 1 note in abababababab",
        "training: version 2 of income, random forest, the best of 3 trials, 1 failed",
        "  PARAMETER  VALUE",
        "  depth      3",
        "  METRIC    HELD OUT",
        "  f1_score  0.7192",
        "evaluation: version 2 passed",
        "  - because",
        "  METRIC    DATA  ROWS  VERSION 2  CHAMPION 1",
        "  f1_score  new   846   0.7        0.5",
        "deployment: version 2 at income@champion: rolled back (slow)",
    ]


def test_the_result_of_one_flow_is_its_part() -> None:
    found = flow_results.read("train_flow", TRAINING)
    assert found.training == flow_results.read("full_flow", FULL).training
    assert found.evaluation is None


ODD = {"evaluation": {"verdict": "passed", "data": [1], "reasons": 7}}


@pytest.mark.parametrize("odd", [None, {}, {"data": 3}, {"training": {"version": "x"}}, ODD])
def test_odd_results_are_read_too(odd: Any) -> None:
    flow_results.read("full_flow", odd)
    assert flow_results.read("data_flow", {"findings": []}).known is False
