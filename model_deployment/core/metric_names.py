"""Names of metrics: aliases, the split they were measured on, and which direction is better."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

HIGHER, LOWER = "higher", "lower"

_ALIASES = {
    "root_mean_squared_error": "rmse",
    "mean_squared_error": "mse",
    "mean_absolute_error": "mae",
    "mean_absolute_percentage_error": "mape",
    "r2_score": "r2",
    "r_squared": "r2",
    "accuracy_score": "accuracy",
    "acc": "accuracy",
    "precision_score": "precision",
    "recall_score": "recall",
    "f1_score": "f1",
    "roc_auc_score": "roc_auc",
    "auc": "roc_auc",
    "auroc": "roc_auc",
    "logloss": "log_loss",
    "cross_entropy": "log_loss",
}
_DIRECTIONS = {
    **dict.fromkeys(("accuracy", "f1", "precision", "recall", "roc_auc", "r2"), HIGHER),
    **dict.fromkeys(("rmse", "mse", "mae", "mape", "log_loss", "max_error"), LOWER),
}
#: Single rows decide these metrics, so that they have no useful standard error.
UNSTABLE = frozenset({"mape", "max_error"})

#: The split that a metric was measured on, the best one to compare with first.
TEST, VALIDATION, PLAIN, TRAINING = "test", "validation", "run", "training"
_ORDER = (TEST, VALIDATION, PLAIN, TRAINING)
_SPLITS = {
    **dict.fromkeys(("test", "testing", "holdout"), TEST),
    **dict.fromkeys(("val", "valid", "validation", "eval", "evaluation"), VALIDATION),
    **dict.fromkeys(("train", "training"), TRAINING),
}
_WORDS = "|".join(sorted(_SPLITS, key=len, reverse=True))
_PREFIX = re.compile(rf"^({_WORDS})[_\-./ ]+")
_SUFFIX = re.compile(rf"[_\-./ ]+(?:x_)?({_WORDS})$")


@dataclass(frozen=True, slots=True)
class Baseline:
    """The value of a metric when the model was new."""

    value: float
    #: A split of the run (``test``, ``validation``, ``run`` if unknown, ``training``), or ``reference`` or
    #: ``history`` if measured in service.
    source: str
    #: Rows that the metric was measured on, if known.
    n: int | None = None

    @property
    def fair(self) -> bool:
        """Whether the model can be judged by this baseline: not if measured on the training rows."""
        return self.source != TRAINING


def normalised(name: str) -> tuple[str, str]:
    """The normalised name of a metric, and the split that it was measured on."""
    plain = re.sub(r"[\s\-]+", "_", name.strip().lower())
    split = PLAIN
    for pattern in (_PREFIX, _SUFFIX):
        match = pattern.search(plain)
        if match and split == PLAIN:
            split = _SPLITS[match[1]]
            plain = pattern.sub("", plain)
    return _ALIASES.get(plain, plain), split


def direction(name: str) -> str | None:
    """Whether higher or lower values of a metric are better; None if unknown."""
    return _DIRECTIONS.get(name)


def baselines(metrics: Mapping[str, float], rows: int | None = None) -> dict[str, Baseline]:
    """The metrics of a run by normalised name, each of the best split to compare with.

    ``rows`` is the number of rows that they were measured on, if known.
    """
    found: dict[str, Baseline] = {}
    for name, value in metrics.items():
        plain, split = normalised(name)
        known = found.get(plain)
        if known is None or _ORDER.index(split) < _ORDER.index(known.source):
            found[plain] = Baseline(value, split, rows)
    return found
