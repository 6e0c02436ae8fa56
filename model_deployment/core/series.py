"""What a model of a time series takes and answers, by its ``MLmodel`` file. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: The member of ``metadata`` in ``MLmodel``: ``{"window": 30, "horizon": 7}``.
METADATA = "timeseries"
#: The param of the model that says how many values it predicts.
STEPS = "prediction_step"
#: More values are no window that anybody sends as JSON.
_LONGEST = 100_000


@dataclass(frozen=True, slots=True)
class Series:
    """A model that predicts the next values of a series from its last ones."""

    #: Values of a request, the oldest first.
    window: int
    #: Values of an answer, at most.
    horizon: int
    #: The columns that take the values, the oldest first. Empty: the model takes a tensor.
    columns: tuple[str, ...] = ()
    #: Whether the model has the param ``prediction_step``; else it always answers the whole horizon.
    takes_steps: bool = False


def predicts_series(signature: Any) -> bool:
    """Whether a signature in JSON form is that of a model of a time series.

    The ground truth of its predictions is the next value, whatever number of values was predicted.
    """
    params = signature.get("params") if isinstance(signature, Mapping) else None
    return any(isinstance(one, Mapping) and one.get("name") == STEPS for one in params or ())


def next_value(prediction: Any) -> Any:
    """The first of the predicted values of a row, which may be a list or a record."""
    if isinstance(prediction, Mapping):
        prediction = [*prediction.values()]
    return prediction[0] if isinstance(prediction, list) and prediction else prediction


def series_of(
    mlmodel: Any,
    inputs: Sequence[Mapping[str, Any]] = (),
    params: Sequence[Mapping[str, Any]] = (),
) -> Series | None:
    """What a parsed ``MLmodel`` file says; None if the model is none of a time series.

    Args:
        inputs: those of the signature, in MLflow's JSON form.
        params: those of the signature.
    """
    metadata = mlmodel.get("metadata") if isinstance(mlmodel, dict) else None
    said = metadata.get(METADATA) if isinstance(metadata, dict) else None
    if not isinstance(said, dict):
        return None
    window, horizon = said.get("window"), said.get("horizon")
    if type(window) is not int or type(horizon) is not int:
        return None
    if not (1 <= window <= _LONGEST and 1 <= horizon <= _LONGEST):
        return None
    names = tuple(str(one["name"]) for one in inputs if one.get("name") is not None)
    takes_steps = any(one.get("name") == STEPS for one in params)
    return Series(window, horizon, names if len(names) == window else (), takes_steps)
