"""What a model predicted, row by row, with what feedback needs."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any, overload

from model_deployment.client.answers import LabelIn
from model_deployment.client.errors import Unsendable
from model_deployment.client.frames import frame_of, is_series, matched, series_of
from model_deployment.client.plain import plain

if TYPE_CHECKING:
    import pandas as pd

#: Rows that are shown in a notebook.
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class PredictionRequest:
    """One request of a prediction, and its answer.

    Attributes:
        request_id: ``X-Request-Id``; feedback names it, and the model's log has it.
        model_version: the version that answered; None if the answer names none.
        rows: one value for each row.
        content: the answer as it came.
    """

    request_id: str
    model_version: int | None
    rows: Sequence[Any]
    content: bytes


@dataclass(frozen=True, eq=False, repr=False)
class Predictions(Sequence[Any]):
    """The predictions of one call, one value for each row: a number, a text, or a list or dict of outputs.

    Attributes:
        name: what was asked: a deployment or an endpoint.
        requests: the requests that were sent; several only where ``rows_per_request`` asked for that.
        index: that of the data frame that was sent; None for other inputs.
    """

    name: str
    requests: tuple[PredictionRequest, ...]
    index: Any = None
    _rows: list[Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_rows", [row for one in self.requests for row in one.rows])

    @property
    def request_id(self) -> str:
        """Of the first request; ``requests`` has all."""
        return self.requests[0].request_id if self.requests else ""

    @property
    def model_version(self) -> int | None:
        """The version that answered the first request."""
        return self.requests[0].model_version if self.requests else None

    @property
    def answer(self) -> Any:
        """``predictions`` of the answer as it came; of several requests, all rows."""
        if len(self.requests) != 1:
            return self.to_list()
        found = json.loads(self.requests[0].content)
        return found.get("predictions", found) if isinstance(found, dict) else found

    def to_list(self) -> list[Any]:
        return list(self._rows)

    def to_series(self) -> "pd.Series":
        """One value for each row, with the index of the data frame that was sent."""
        return series_of(self._rows, self.index)

    def to_frame(self) -> "pd.DataFrame":
        """A column for each output, with the index of the data frame that was sent."""
        return frame_of(self._rows, self.index)

    def labels(self, truth: Iterable[Any]) -> list[LabelIn]:
        """The body of a feedback call: the true outcome of each row, as far as it is known.

        A series of pandas is matched by its index, anything else by its order. Rows whose label is missing
        are left out.

        Raises:
            Unsendable: there are not as many labels as rows, or an index has a label twice.
        """
        if is_series(truth) and self.index is not None:
            truth = matched(truth, self.index)
        values = [plain(value, "a label") for value in truth]
        if len(values) != len(self):
            raise Unsendable(
                f"cannot match the labels: there are {len(self)} predictions and {len(values)} labels"
            )
        places = ((one.request_id, row) for one in self.requests for row in range(len(one.rows)))
        return [
            {"request_id": request_id, "row": row, "label": value}
            for (request_id, row), value in zip(places, values, strict=True)
            if value is not None
        ]

    @overload
    def __getitem__(self, place: int) -> Any: ...
    @overload
    def __getitem__(self, place: slice) -> list[Any]: ...
    def __getitem__(self, place: int | slice) -> Any:
        return self._rows[place]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Predictions):
            return self._rows == other._rows
        return self._rows == other if isinstance(other, list) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self._rows[:5])) + (", ..." if len(self) > 5 else "")
        return f"<{self._said}: {shown}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{escape(str(label))}</th><td>{escape(json.dumps(row))}</td></tr>"
            for label, row in zip(self._labels(), self._rows[:_SHOWN], strict=False)
        )
        more = len(self) - _SHOWN
        rest = f"<p>and {more} more</p>" if more > 0 else ""
        said = f"{self._said}, version {self.model_version}, request {self.request_id}"
        return f"<table><caption>{escape(said)}</caption>{rows}</table>{rest}"

    @property
    def _said(self) -> str:
        return f"{len(self)} prediction{'' if len(self) == 1 else 's'} of {self.name}"

    def _labels(self) -> Iterable[Any]:
        return self.index if self.index is not None else range(len(self))


def prediction_request(
    content: bytes, headers: Mapping[str, str], sent: int | None
) -> PredictionRequest:
    """Read an answer.

    Args:
        headers: of the answer, by their names in any case.
        sent: rows that were sent; None if unknown.
    """
    version = headers.get("X-Model-Version", "")
    return PredictionRequest(
        headers.get("X-Request-Id", ""),
        int(version) if version.isdecimal() else None,
        _rows(json.loads(content), sent),
        content,
    )


def _rows(answer: Any, sent: int | None) -> list[Any]:
    found = answer.get("predictions", answer) if isinstance(answer, dict) else answer
    if isinstance(found, list):
        return found
    if isinstance(found, dict) and "predictions" in answer and found:
        # Some models answer by columns.
        lengths = {len(one) if isinstance(one, list) else math.nan for one in found.values()}
        if len(lengths) == 1 and lengths <= {sent, *([] if sent is not None else lengths)}:
            return [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]
    return [found]
