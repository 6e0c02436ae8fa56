"""Labels of predictions, and what became of them."""

from collections.abc import Iterable
from typing import Any, cast

from model_deployment.client.answers import Feedback, LabelIn
from model_deployment.client.errors import Unsendable
from model_deployment.client.plain import plain
from model_deployment.client.predictions import Predictions

#: Members of an answer that are added up; the others are those of the newest answer.
_COUNTS = ("matched", "waiting", "unmatched", "ambiguous", "duplicate")


def chosen_labels(
    predictions: Predictions | str | Iterable[LabelIn], truth: Iterable[Any] | None
) -> list[LabelIn]:
    """The labels of one call of ``feedback``.

    Raises:
        Unsendable: there are none, or not as many as predictions.
    """
    labels = _labels(predictions, truth)
    if not labels:
        raise Unsendable("cannot send feedback: all labels are missing")
    return labels


def _labels(
    predictions: Predictions | str | Iterable[LabelIn], truth: Iterable[Any] | None
) -> list[LabelIn]:
    if not isinstance(predictions, Predictions | str):
        return list(predictions)
    if truth is None:
        raise Unsendable("cannot send feedback: the true outcomes are missing")
    if isinstance(predictions, Predictions):
        return predictions.labels(truth)
    return [
        {"request_id": predictions, "row": row, "label": value}
        for row, value in enumerate(plain(value, "a label") for value in truth)
        if value is not None
    ]


def added(before: Feedback, answer: Feedback) -> Feedback:
    """The answers of two calls as one."""
    earlier: dict[str, Any] = dict(before)
    later: dict[str, Any] = dict(answer)
    counts = {name: earlier.get(name, 0) + later.get(name, 0) for name in _COUNTS}
    return cast("Feedback", {**earlier, **later, **counts})
