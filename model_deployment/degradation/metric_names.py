"""Names of metrics: what they are called by whom, and which direction is good."""

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
#: One row decides them, so that chance has no standard error, or nearly.
UNSTEADY = frozenset({"mape", "max_error"})

#: The data a metric was measured on, the best to compare with first.
TEST, VALIDATION, PLAIN, TRAINING = "test", "validation", "run", "training"
_ORDER = (TEST, VALIDATION, PLAIN, TRAINING)
_SPLITS = {
    "test": TEST,
    "testing": TEST,
    "holdout": TEST,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "eval": VALIDATION,
    "evaluation": VALIDATION,
    "train": TRAINING,
    "training": TRAINING,
}
_WORDS = "|".join(sorted(_SPLITS, key=len, reverse=True))
_PREFIX = re.compile(rf"^({_WORDS})[_\-./ ]+")
_SUFFIX = re.compile(rf"[_\-./ ]+(?:x_)?({_WORDS})$")


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a metric was when the model was made, or as near to it as is known."""

    value: float
    #: ``test``, ``validation``, ``run`` and ``training`` are metrics of the run by what they were
    #: measured on; ``reference`` and ``history`` were measured in service.
    source: str
    #: Rows it was measured on, if that is known.
    n: int | None = None

    @property
    def fair(self) -> bool:
        """Whether the model can be held to it: on the rows it was trained on every model does well."""
        return self.source != TRAINING


def normalised(name: str) -> tuple[str, str]:
    """The one name of a metric, and what it was measured on."""
    plain = re.sub(r"[\s\-]+", "_", name.strip().lower())
    split = PLAIN
    for pattern in (_PREFIX, _SUFFIX):
        match = pattern.search(plain)
        if match and split == PLAIN:
            split = _SPLITS[match[1]]
            plain = pattern.sub("", plain)
    return _ALIASES.get(plain, plain), split


def direction(name: str) -> str | None:
    """Which way is good for a metric of a normalised name."""
    return _DIRECTIONS.get(name)


def baselines(metrics: Mapping[str, float], rows: int | None = None) -> dict[str, Baseline]:
    """The metrics of a run by their one name, each as measured on the best data there is.

    Args:
        metrics: by the names that the run has for them.
        rows: they were measured on, None if nobody knows.
    """
    found: dict[str, Baseline] = {}
    for name, value in metrics.items():
        plain, split = normalised(name)
        known = found.get(plain)
        if known is None or _ORDER.index(split) < _ORDER.index(known.source):
            found[plain] = Baseline(value, split, rows)
    return found
