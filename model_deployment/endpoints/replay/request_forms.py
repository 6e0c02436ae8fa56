"""Makes request bodies of captured columns and rows: the inverse of what a capture does to a body.

A capture does not keep the form of its request. So there are several candidates, the most probable form
first, and the gate of the version that answered the request then decides which of them it accepts.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from model_deployment.gate import body_forms
from model_deployment.gate.column_names import ColumnNames, Name

Spec = Mapping[str, Any]
Body = dict[str, Any]
Rows = Sequence[Sequence[Any]]

_NUMBERED = re.compile(r"f[0-9]{1,9}", re.ASCII)


class RequestForms:
    """The forms that requests of one model may have had, by its signature."""

    def __init__(self, specs: Sequence[Spec], *, hinted: bool = False) -> None:
        """
        Args:
            specs: the signature's inputs in MLflow's JSON form; empty without a signature.
            hinted: the signature was made from type hints, so the model takes ``inputs`` only.

        Raises:
            ValueError, LookupError, TypeError, AttributeError: MLflow did not write them.
        """
        self._specs = list(specs)
        self._hinted = hinted
        self._tensors = bool(specs) and all(spec.get("type") == "tensor" for spec in specs)
        #: The caller's names of columns by the captured ones.
        self._given: dict[str, Name] = {}
        if specs and not self._tensors:
            names = ColumnNames(specs)
            self._given = {key.replace("\0", "f"): name for key, name in names.by_key.items()}
        #: Members of objects that may be left out. To some models null is another value.
        self._optional: frozenset[str] = frozenset()
        if hinted and len(specs) == 1:
            members = specs[0].get("properties") or {}
            self._optional = frozenset(
                name for name, member in members.items() if not member.get("required", True)
            )

    def bodies(self, columns: Sequence[str], rows: Rows) -> Iterator[Body]:
        """Bodies for the columns and rows of a capture, the most probable one first."""
        columns, rows = _first_of_each(columns, rows)
        numbered = _are_numbered(columns) and self._given.keys().isdisjoint(columns)
        if self._hinted:
            yield from self._of_hint(columns, rows, numbered)
        elif self._tensors:
            yield from self._of_tensors(columns, rows)
        elif self._specs:
            yield from self._of_columns(columns, rows, numbered)
        else:
            yield from _unchecked(columns, rows, numbered)

    def _of_hint(self, columns: Sequence[str], rows: Rows, numbered: bool) -> Iterator[Body]:
        if not numbered:
            yield {body_forms.INPUTS: _records(columns, rows, self._optional)}
        elif len(self._specs) == 1 and self._specs[0].get("type") == "array":
            yield {body_forms.INPUTS: [list(row) for row in rows]}
        elif len(columns) == 1:
            yield {body_forms.INPUTS: [row[0] for row in rows]}
        else:
            yield {body_forms.INPUTS: [list(row) for row in rows]}

    def _of_tensors(self, columns: Sequence[str], rows: Rows) -> Iterator[Body]:
        if self._specs[0].get("name"):
            values = zip(*rows, strict=True) if rows else [()] * len(columns)
            by_name = {name: list(one) for name, one in zip(columns, values, strict=True)}
            yield {body_forms.INPUTS: by_name}
            yield _split(columns, rows)
            return
        shape = (self._specs[0].get("tensor-spec") or {}).get("shape") or ()
        alone = [row[0] for row in rows] if len(columns) == 1 else None
        if alone is not None and len(shape) < 2:
            yield {body_forms.INPUTS: alone}
        yield {body_forms.INPUTS: [list(row) for row in rows]}
        if alone is not None:
            # The rows of the tensor were the cells of a frame.
            yield {body_forms.INPUTS: alone}
            yield _split([0], rows)

    def _of_columns(self, columns: Sequence[str], rows: Rows, numbered: bool) -> Iterator[Body]:
        named = [self._given.get(name, name) for name in columns]
        yield (
            {body_forms.SPLIT: {"data": [list(row) for row in rows]}}
            if numbered
            else _split(named, rows)
        )
        if numbered and len(columns) == 1:
            yield {body_forms.INPUTS: [row[0] for row in rows]}
        # In a frame null is a value. In records a column can be left out of some rows.
        yield {body_forms.INPUTS: _records(columns, rows, frozenset(columns))}


def _unchecked(columns: Sequence[str], rows: Rows, numbered: bool) -> Iterator[Body]:
    if not numbered:
        yield _split(columns, rows)
    elif len(columns) == 1 and all(type(row[0]) is str for row in rows):
        yield {body_forms.INPUTS: [row[0] for row in rows]}
    else:
        yield {body_forms.INPUTS: [list(row) for row in rows]}


def _split(columns: Sequence[Name], rows: Rows) -> Body:
    return {body_forms.SPLIT: {"columns": list(columns), "data": [list(row) for row in rows]}}


def _records(columns: Sequence[str], rows: Rows, optional: frozenset[str]) -> list[dict[str, Any]]:
    return [
        {
            name: value
            for name, value in zip(columns, row, strict=True)
            if value is not None or name not in optional
        }
        for row in rows
    ]


def _first_of_each(columns: Sequence[str], rows: Rows) -> tuple[Sequence[str], Rows]:
    """Of two columns with one name, the first: only some formats can have both."""
    if len(set(columns)) == len(columns):
        return columns, rows
    places = [place for place, name in enumerate(columns) if name not in columns[:place]]
    return [columns[place] for place in places], [[row[place] for place in places] for row in rows]


def _are_numbered(columns: Sequence[str]) -> bool:
    """Whether the caller gave the columns no names, so that the capture calls them f0, f1 and so on."""
    return (
        bool(columns)
        and all(map(_NUMBERED.fullmatch, columns))
        and list(columns) == [f"f{place}" for place in range(len(columns))]
    )
