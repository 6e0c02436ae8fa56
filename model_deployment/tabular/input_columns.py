"""Maps the table of a request to the columns of the model's signature, alike for every format."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from model_deployment.gate.column_names import ColumnNames, Name
from model_deployment.gate.nested_rules import COMPLEX
from model_deployment.tabular import text_cells
from model_deployment.tabular.body_tables import BodyTable
from model_deployment.tabular.canonical import cells, column, converter

Spec = Mapping[str, Any]

#: Names of columns that have none.
_NUMBERED = re.compile(r"f[0-9]{1,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class InputColumn:
    name: str
    values: Sequence[Any]
    #: The caller's name for the column, or its position.
    given: str | float

    @property
    def aliases(self) -> set[str]:
        """All names that an operator may use for the column."""
        given = str(self.given)
        return {self.name, given, f"f{given}"} if given.isdecimal() else {self.name, given}


class ModelInputs:
    """The inputs of one model, by its signature."""

    def __init__(self, specs: Sequence[Spec] = ()) -> None:
        """``specs``: the signature's inputs in MLflow's JSON form; empty without a signature.

        Raises:
            ValueError, LookupError, TypeError, AttributeError, RecursionError: MLflow did not write them.
        """
        self._specs: dict[str, Spec] = {}
        self._order: dict[str, int] = {}
        #: Names of columns by every name that a request may use.
        self._names: dict[Name, str] = {}
        #: Specs of columns that are known by their position.
        self._places: list[Spec] = []
        #: Spec of all columns, however many a request has.
        self._every: Spec | None = None
        for spec in specs:
            converter(spec)
        named = [spec for spec in specs if spec.get("name") is not None]
        if len(named) == len(specs):
            names = []
            for key, given in zip(
                ColumnNames(specs).keys, [one["name"] for one in named], strict=True
            ):
                # Beside a column "1", the column 1 is called f1.
                name = key if given == key else key.replace("\0", "f")
                names.append(name)
                self._names[key] = name
                if isinstance(given, int | float):
                    self._names[given] = name
            self._specs = dict(zip(names, specs, strict=True))
            self._order = {name: place for place, name in enumerate(names)}
        elif len(specs) == 1 and specs[0].get("type") == "tensor":
            self._every = specs[0]
        elif not any(spec.get("type") in COMPLEX | {"any"} for spec in specs):
            self._places = list(specs)

    @property
    def nested(self) -> bool:
        """Whether columns that are known by name hold lists or objects."""
        return any(spec.get("type") in COMPLEX for spec in self._specs.values())

    @property
    def names(self) -> list[str]:
        return list(self._specs)

    def spec(self, name: str) -> Spec | None:
        return self._specs.get(name)

    def take(self, table: BodyTable) -> list[InputColumn]:
        """The columns of a request: those of the signature in its order, then the others.

        Columns without names are called ``f0``, ``f1`` and so on, by position.
        """
        table = self._one_tensor(table)
        found = self._placed(table)
        numbered = table.numbered
        known: list[InputColumn] = []
        others: list[InputColumn] = []
        for place, given in enumerate(table.names):
            name = found.get(place)
            spec = self._specs.get(name) or self._spec_at(place) if name is not None else None
            own = name if name is not None else _name(given, place, numbered)
            one = InputColumn(own, self._values(table, place, spec), given)
            (others if name is None else known).append(one)
        if self._specs:
            known.sort(key=lambda one: self._order[one.name])
        return [*known, *others]

    def retyped(
        self, names: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Converts rows that an earlier release captured without the signature."""
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
        given: Sequence[str | float] = names
        if self._specs.keys().isdisjoint(names) and all(map(_NUMBERED.fullmatch, names)):
            given = [int(name[1:]) for name in names]
        taken = self.take(BodyTable(given, columns, len(rows)))
        return [one.name for one in taken], list(zip(*(one.values for one in taken), strict=True))

    def _one_tensor(self, table: BodyTable) -> BodyTable:
        """Rows without a name, which MLflow reads as the model's only tensor."""
        if len(self._specs) != 1 or not table.numbered or table.texts:
            return table
        ((name, spec),) = self._specs.items()
        if spec.get("type") != "tensor" or name in map(str, table.names):
            return table
        shape = (spec.get("tensor-spec") or {}).get("shape") or ()
        rows = list(map(list, zip(*table.columns, strict=True)))
        return BodyTable([name], [rows if len(shape) > 1 else table.columns[0]], table.rows)

    def _placed(self, table: BodyTable) -> dict[int, str]:
        """Names of the signature's columns by their position in the request."""
        width = len(table.names)
        if self._every is not None:
            return {place: f"f{place}" for place in range(width)}
        if self._places:
            return {place: f"f{place}" for place in range(min(width, len(self._places)))}
        first: dict[str, int] = {}
        for place, given in enumerate(table.names):
            if (name := self._names.get(given)) is not None:
                first.setdefault(name, place)
        found = {place: name for name, place in first.items()}
        if not found and table.numbered and width == len(self._specs):
            return dict(enumerate(self._specs))
        return found

    def _spec_at(self, place: int) -> Spec | None:
        return self._every or (self._places[place] if place < len(self._places) else None)

    def _values(self, table: BodyTable, place: int, spec: Spec | None) -> Sequence[Any]:
        values = table.columns[place]
        if table.texts:
            return text_cells.guess_values(values) if spec is None else cells(spec, values)
        spec = spec or (table.types[place] if table.types else None)
        return values if spec is None else column(spec, values)


class Fate(Enum):
    """How a column is stored."""

    KEPT = "kept"
    HASHED = "hashed"
    EXCLUDED = "excluded"


def fates(
    columns: Sequence[InputColumn],
    exclude: Collection[str],
    hashed: Collection[str],
    numbered: bool,
) -> list[Fate] | None:
    """How each column is stored; None if it is unknown which columns the names mean.

    Args:
        exclude: names of columns that are not stored.
        hashed: names of columns that are stored as digests.
        numbered: whether the caller sent columns without names.
    """
    if not exclude and not hashed:
        return [Fate.KEPT] * len(columns)
    out, digest = set(map(_normalised, exclude)), set(map(_normalised, hashed))
    aliases = [set(map(_normalised, one.aliases)) for one in columns]
    if numbered and not out | digest <= set().union(*aliases):
        return None
    return [
        Fate.EXCLUDED if names & out else Fate.HASHED if names & digest else Fate.KEPT
        for names in aliases
    ]


def _normalised(name: str) -> str:
    """Spellings that mean the same column are equal."""
    return name.strip().casefold()


def _name(given: str | float, place: int, numbered: bool) -> str:
    if numbered:
        return f"f{place}"
    return given if type(given) is str else f"f{given}"
