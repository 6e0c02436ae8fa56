"""Real models for ``rollouts.py``: champions, and candidates that are better, the same, or worse."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
from report import ROOT
from sklearn import datasets
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(ROOT))

from model_deployment.core.endpoints import Order, Rollout, RolloutKind, RolloutState
from model_deployment.core.rollout_counts import ArmCounts, StageCounts
from model_deployment.core.rollout_policy import RolloutPolicy
from model_deployment.endpoints.findings import Outcome
from model_deployment.endpoints.guards.judge import judge
from model_deployment.endpoints.guards.labelled_losses import LabelledLosses, poor_bound
from model_deployment.endpoints.replay.replayed import AnswerKind, ReplayedAnswer, ReplayedPair
from model_deployment.endpoints.replay.verdict import verdict

#: The last one is made up, and is not small: 600 rows to train with, 2,000 that are served.
REGRESSIONS = ("diabetes", "friedman")
CLASSES = ("breast_cancer", "wine", "digits")
SETS = REGRESSIONS + CLASSES
ROWS, CANARY_ROWS = 300, 3000
_NOW = datetime(2026, 11, 29, tzinfo=UTC)
ROLLOUT = Rollout(
    1, 1, 4, 3, RolloutKind.FORWARD, RolloutState.CANARY, 0, Order.ADVANCE, "", {}, _NOW, _NOW
)


@cache
def _loaded(name: str) -> tuple[np.ndarray, np.ndarray]:
    if name == "friedman":
        return datasets.make_friedman1(2600, noise=1.0, random_state=1)
    return getattr(datasets, f"load_{name}")(return_X_y=True)


class Halves:
    """One half of a set to train with; the other is what callers send."""

    def __init__(self, name: str, chance: np.random.Generator) -> None:
        self.name = name
        self.x, self.y = _loaded(name)
        self.train, self.live = np.split(
            chance.permutation(len(self.x)), [600 if name == "friedman" else len(self.x) // 2]
        )
        self.truth = self.y[self.live]
        self._noise = chance.normal(0, self.y.std(), len(self.x))
        self._flips = chance.random(len(self.x))
        self._others = chance.permutation(self.y)

    def predicted(self, rows: np.ndarray, spoiled: float = 0.0) -> np.ndarray:
        """What a model that was trained with these rows predicts for all live rows.

        Args:
            spoiled: how wrong the training labels are: deviations of noise, or the share of other classes.
        """
        y, last = self.y, LogisticRegression(max_iter=200)
        if self.name in CLASSES:
            y = np.where(self._flips < spoiled, self._others, y)
        else:
            y = y + spoiled * self._noise
            forest = RandomForestRegressor(10, max_depth=8, random_state=1)
            last = Ridge() if self.name == "diabetes" else forest
        model = make_pipeline(StandardScaler(), last).fit(self.x[rows], y[rows])
        return np.asarray(model.predict(self.x[self.live]))

    def error(self, predicted: np.ndarray) -> float:
        """Root of the mean squared error, or the share of wrong classes."""
        if self.name in CLASSES:
            return float(np.mean(predicted != self.truth))
        return float(np.sqrt(np.mean((predicted - self.truth) ** 2)))

    def worse(self, champion: np.ndarray, factor: float) -> np.ndarray:
        """What a model predicts whose labels are spoiled just enough to be worse by a factor."""
        low, high = 0.0, 0.95 if self.name in CLASSES else 20.0
        found = self.predicted(self.train, high)
        for _ in range(8):
            middle = (low + high) / 2
            predicted = self.predicted(self.train, middle)
            if self.error(predicted) >= factor * max(self.error(champion), 1e-9):
                found, high = predicted, middle
            else:
                low = middle
        return found


@dataclass(frozen=True)
class Kind:
    """A kind of candidate."""

    what: str
    sets: tuple[str, ...]
    #: What champion and candidate predict for all live rows.
    make: Callable[[Halves, np.random.Generator], tuple[np.ndarray, np.ndarray]]
    #: Share that may be promoted at most, and at least.
    most: float | None = None
    least: float | None = None


def _champion(one: Halves) -> np.ndarray:
    return one.predicted(one.train)


def _two(one: Halves, chance: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two models that learned from rows of their own, the worse one first."""
    both = [one.predicted(chance.choice(one.train, len(one.train))) for _ in range(2)]
    champion, candidate = sorted(both, key=one.error, reverse=True)
    return champion, candidate


KINDS = (
    Kind("the same model", SETS, lambda one, chance: (_champion(one),) * 2, least=1.0),
    Kind(
        "better: its champion learned from labels half of which are spoiled",
        SETS,
        lambda one, chance: (
            one.predicted(one.train, 0.5 if one.name in CLASSES else 3.0),
            _champion(one),
        ),
        least=0.95,
    ),
    Kind(
        "as good or a little better: both learned from rows of their own",
        SETS,
        _two,
        least=0.9,
    ),
    Kind(
        "worse by 20 % rmse",
        REGRESSIONS,
        lambda one, chance: (_champion(one), one.worse(_champion(one), 1.2)),
        most=0.05,
    ),
    Kind(
        "worse by 20 % error rate",
        CLASSES,
        lambda one, chance: (_champion(one), one.worse(_champion(one), 1.2)),
    ),
    Kind(
        "worse by 50 % error",
        SETS,
        lambda one, chance: (_champion(one), one.worse(_champion(one), 1.5)),
    ),
    Kind(
        "broken: its answers belong to other rows",
        SETS,
        lambda one, chance: (_champion(one), chance.permutation(_champion(one))),
        most=0.0,
    ),
)


def replayed(kind: Kind, name: str, repeat: int, rows: int = ROWS) -> tuple[Outcome, bool]:
    """What the replay says, and whether the canary stops a candidate that it lets pass."""
    chance = np.random.default_rng([KINDS.index(kind), SETS.index(name), repeat])
    one = Halves(name, chance)
    champion, candidate = kind.make(one, chance)
    places = chance.integers(0, len(one.live), rows)
    pairs = [
        ReplayedPair(
            ReplayedAnswer(AnswerKind.OK, [champion[at].item()], 20.0),
            ReplayedAnswer(AnswerKind.OK, [candidate[at].item()], 20.0),
            {0: one.truth[at].item()},
        )
        for at in places
    ]
    policy = RolloutPolicy()
    outcome = verdict(pairs, rows, policy.guard, 4, 3).outcome
    if outcome is not Outcome.PASSED:
        return outcome, False
    losses = [
        (said != one.truth).astype(float) if name in CLASSES else np.abs(said - one.truth)
        for said in (champion, candidate)
    ]
    return outcome, _canary(policy, losses[0], losses[1], chance)


def _canary(
    policy: RolloutPolicy, champion: np.ndarray, candidate: np.ndarray, chance: np.random.Generator
) -> bool:
    """Whether the guard of quality stops the candidate while labels of its answers come."""
    bound = poor_bound(chance.choice(champion, 500).tolist())
    state: dict[str, Any] = {}
    known = LabelledLosses(bound or 0.0)
    counts = {"canary-0": StageCounts(ArmCounts(1), ArmCounts(1))}
    for step in policy.canary.steps:
        for _ in range(CANARY_ROWS // len(policy.canary.steps) // 20):
            of_candidate = int(chance.binomial(20, step / 100))
            one = chance.choice(champion, 20 - of_candidate) > known.bound
            other = chance.choice(candidate, of_candidate) > known.bound
            known = replace(
                known,
                champion_answers=known.champion_answers + len(one),
                candidate_answers=known.candidate_answers + len(other),
                champion_poor=known.champion_poor + int(one.sum()),
                candidate_poor=known.candidate_poor + int(other.sum()),
            )
            state, judgement = judge(state, ROLLOUT, policy, counts, known)
            if judgement.outcome is Outcome.FAILED:
                return True
    return False
