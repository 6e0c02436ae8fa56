"""Whether an answer has the shape of another one, so that callers of the one can read the other. Pure."""

from typing import Any

#: What is wrong with an answer of a good status: callers of the other version could not read it, or would
#: miss values.
SHAPE, NULL = "shape", "null"

#: Rows that are compared.
_ROWS = 1000


def unwrapped(answer: Any) -> Any:
    """The predictions in an answer, which is parsed JSON: with MLflow's envelope or without."""
    wrapped = isinstance(answer, dict) and "predictions" in answer
    return answer["predictions"] if wrapped else answer


def same_shape(champion: Any, candidate: Any) -> bool:
    """Whether callers of one model could read the answer of another.

    Args:
        champion: the predictions that a request was answered with, as a capture has them.
        candidate: those of the other model for the same request.

    Returns:
        False if they are not as many rows, or not of the same kind. Null is of every kind.
    """
    if champion is None or candidate is None:
        return True
    if type(champion) is list and type(candidate) is list and len(champion) == len(candidate):
        rows = zip(champion[:_ROWS], candidate[:_ROWS], strict=True)
        return all(_same_kind(one, other) for one, other in rows)
    return type(champion) is not list and _same_kind(champion, candidate)


def lacks_values(champion: Any, candidate: Any) -> bool:
    """Whether one of two answers of the same shape is null where the other one has a value.

    Args:
        champion: the predictions that a request was answered with.
        candidate: those of the other model, which may lack values.
    """
    if candidate is None:
        return champion is not None
    if type(champion) is list and type(candidate) is list:
        pairs = zip(champion[:_ROWS], candidate[:_ROWS], strict=False)
        return any(lacks_values(one, other) for one, other in pairs)
    if type(champion) is dict and type(candidate) is dict:
        return any(lacks_values(value, candidate.get(name)) for name, value in champion.items())
    return False


def _same_kind(champion: Any, candidate: Any) -> bool:
    if champion is None or candidate is None:
        return True
    if _kind(champion) != _kind(candidate):
        return False
    if type(champion) is list:
        alike = len(champion) == len(candidate)
        return alike and all(map(_same_kind, champion, candidate))
    if type(champion) is dict:
        alike = champion.keys() == candidate.keys()
        return alike and all(_same_kind(champion[name], candidate[name]) for name in champion)
    return True


def _kind(value: Any) -> type:
    """Numbers and truth values are one kind: models change between them without a caller's noticing."""
    return float if isinstance(value, int | float) else type(value)
