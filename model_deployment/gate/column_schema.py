"""Checks tables against a signature of columns: aligns them, then checks column by column."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import is_not
from typing import Any

from model_deployment.gate import body_forms
from model_deployment.gate.body_forms import ABSENT, Frame, ParsedBody
from model_deployment.gate.check_result import (
    Fault,
    Findings,
    ViolationKind,
    clip,
)
from model_deployment.gate.column_names import ColumnNames, Name
from model_deployment.gate.mergeable import Mergeable, MergeableTable
from model_deployment.gate.nested_rules import COMPLEX, column_rule
from model_deployment.gate.scalar_rules import Rule
from model_deployment.gate.table_reading import KEPT, TableReader, has_gap

_FINDABLE = (
    "a model whose columns MLflow can find: a column name may not be a list or empty, and 0 may only "
    "name the first column; log the model with text as column names"
)
_NOTHING_KNOWN = "at least one column of the signature"


@dataclass(slots=True)
class CheckedData:
    rows: int | None = None
    table: Mergeable | None = None
    #: Form and data to send, if others than those that came.
    form: str | None = None
    data: Any = None


class ColumnSchema:
    def __init__(
        self,
        specs: Sequence[Mapping[str, Any]],
        mapping: Mapping[str, Any],
        gaps: frozenset[int] = frozenset(),
    ) -> None:
        """
        Args:
            gaps: places of the columns that accept null although they are required.

        Raises:
            ValueError, LookupError, TypeError: the signature is not as MLflow writes it.
        """
        self.rules: list[Rule] = [
            column_rule(spec, mapping, gap=place in gaps) for place, spec in enumerate(specs)
        ]
        kinds = [str(spec["type"]) for spec in specs]
        self._names_of = ColumnNames(specs)
        self._named, self._names = self._names_of.named, self._names_of.names
        self._all, self._labels = tuple(self._names), self._names_of.labels
        self._reader = TableReader(specs, self._names_of)
        self._required = [
            bool(spec.get("required", kind not in COMPLEX and kind != "any"))
            for spec, kind in zip(specs, kinds, strict=True)
        ]
        self._has_any = "any" in kinds
        #: Whether values of a column may be missing in some rows.
        self._optional = [place in gaps or not one for place, one in enumerate(self._required)]
        #: To pandas a column of nulls alone is of another type than one with text in it.
        self._retyped_by_null = [
            place for place, kind in enumerate(kinds) if kind == "string" and self._optional[place]
        ]
        #: MLflow keeps a missing boolean only if a record in ``inputs`` lacks the column.
        self._gapped = [
            place
            for place, kind in enumerate(kinds)
            if kind == "boolean"
            and self._optional[place]
            and KEPT.issuperset(kinds)
            and not self._names_of.numbered
        ]
        for place in self._gapped:
            self.rules[place].nullable = True
        #: Whether null becomes NaN, which merged tables would lose.
        self.writes_nan = any(kinds[place] in COMPLEX for place in gaps)

    @property
    def names(self) -> list[str]:
        """The keys of its columns in a record; empty if they have no names."""
        return self._names_of.keys

    def check(self, request: ParsedBody, findings: Findings) -> CheckedData | None:
        """Check the data; None if it has no table."""
        if not self.check_names(findings):
            return None
        frame = self._reader.read(request, findings)
        if frame is None:
            return None
        aligned = self._align(frame, findings)
        changed = False
        for place, rule in enumerate(self.rules):
            values = aligned[place]
            if values is not None and (frame.holes or not rule.accepts(values)):
                changed |= self._coerce_column(place, aligned, findings)
        if findings.fatal:
            return CheckedData(frame.rows)
        if frame.rows and all(values is None for values in aligned):
            # pandas would make no rows of it, and the caller would get no predictions.
            findings.add_form(_NOTHING_KNOWN, "none")
            return CheckedData(frame.rows)
        if self._gapped:
            gapped = [place for place in self._gapped if None in (aligned[place] or ())]
            if gapped:
                return self._with_gaps(gapped, request, frame, aligned, findings)
        return self._outcome(request, frame, aligned, changed or len(frame.unknown) > 0)

    def check_names(self, findings: Findings) -> bool:
        """Whether MLflow finds the columns by their names; a violation, if not."""
        if self._names_of.unfindable is not None:
            findings.add_form(_FINDABLE, clip(self._names_of.unfindable))
        return self._names_of.unfindable is None

    def gaps(self, request: ParsedBody) -> frozenset[int]:
        """The places of the columns in which a request has missing values."""
        ignored = Findings()
        frame = self._reader.read(request, ignored)
        if frame is None or self._names_of.unfindable is not None:
            return frozenset()
        aligned = self._align(frame, ignored)
        return frozenset(place for place, values in enumerate(aligned) if has_gap(values or ()))

    def join(self, tables: Sequence[MergeableTable]) -> dict[str, Any]:
        """The split frame of several tables of equal keys, their rows in order."""
        first = tables[0]
        columns: list[list[Any]] = [[] for _ in first.columns]
        for table in tables:
            for column, values in zip(columns, table.values, strict=True):
                column.extend(values)
        if self._named:
            rules = [self.rules[self._names_of.places[name]] for name in first.columns]
            columns = [rule.unify(values) for rule, values in zip(rules, columns, strict=True)]
        return {"columns": list(first.columns), "data": list(zip(*columns, strict=True))}

    def _align(self, frame: Frame, findings: Findings) -> list[Sequence[Any] | None]:
        """The columns in the order of the signature; None for missing ones."""
        if frame.names == self._names and self._named:
            aligned: list[Sequence[Any] | None] = list(frame.values)
        elif self._named:
            aligned = [None] * len(self.rules)
            unknown = []
            for name, values in zip(frame.names, frame.values, strict=True):
                place = self._names_of.place(name)
                if place is None:
                    unknown.append(body_forms.column_text(name))
                else:
                    aligned[place] = values
            frame.unknown += tuple(unknown)
        else:
            width = len(self.rules)
            frame.unknown += tuple(map(body_forms.column_text, frame.names[width:]))
            aligned = [*frame.values[:width]]
            aligned += [None] * (width - len(aligned))
        if frame.unknown:
            known = f"one of {clip(', '.join(self._labels))}"
            findings.add_unknown(
                frame.unknown,
                lambda name: self._names_of.lookalike(name) or known,
                "another column",
            )
        for place, one in enumerate(aligned):
            if one is None and self._required[place]:
                expected, name = self.rules[place].expected, self._labels[place]
                findings.add(ViolationKind.MISSING, expected, "no such column", column=name)
        return aligned

    def _coerce_column(
        self, place: int, aligned: list[Sequence[Any] | None], findings: Findings
    ) -> bool:
        """Coerce the values of one column one by one; whether the column changes by that."""
        rule, values = self.rules[place], aligned[place] or ()
        take, lenient = rule.coerce, findings.lenient
        absent = (
            take(None, lenient)
            if self._optional[place]
            else Fault(ViolationKind.MISSING, rule.expected)
        )
        taken = [take(value, lenient) if value is not ABSENT else absent for value in values]
        if Fault in set(map(type, taken)):
            if findings.lenient and not self._required[place] and _all_null(values):
                # The column counts as left out, which is what was meant.
                aligned[place] = None
                return True
            findings.add_faults(self._labels[place], taken, values)
            return False
        taken = rule.unify(taken)
        if any(map(is_not, taken, values)):
            aligned[place] = taken
            return True
        return False

    def _outcome(
        self, request: ParsedBody, frame: Frame, aligned: list[Sequence[Any] | None], changed: bool
    ) -> CheckedData:
        values = tuple([one for one in aligned if one is not None])
        names: tuple[Name, ...]
        if not self._named:
            names = tuple(frame.names[: len(values)])
        elif len(values) == len(aligned):
            names = self._all
        else:
            names = tuple(
                [n for n, one in zip(self._names, aligned, strict=True) if one is not None]
            )
        outcome = CheckedData(frame.rows)
        if self._is_mergeable(frame, aligned) and (
            request.form in body_forms.FRAMES or not frame.faithful
        ):
            outcome.table = MergeableTable(names, values, frame.rows)
        if changed or not frame.faithful:
            data = {"columns": list(names), "data": list(zip(*values, strict=True))}
            if frame.index is not None:
                data["index"] = frame.index
            outcome.form, outcome.data = body_forms.SPLIT, data
        return outcome

    def _with_gaps(
        self,
        gapped: list[int],
        request: ParsedBody,
        frame: Frame,
        aligned: list[Sequence[Any] | None],
        findings: Findings,
    ) -> CheckedData:
        """Records in ``inputs``, since in a frame MLflow turns null into False and NaN into True."""
        for place in gapped:
            empty = _all_null(aligned[place] or ())
            if empty and findings.lenient and not self._required[place]:
                aligned[place] = None  # it counts as left out, which is what was meant
            elif empty or frame.index is not None:
                limit = "" if frame.index is None else " where there is an index"
                expected = f"{self.rules[place].expected}; given in all rows or in none{limit}"
                findings.add(ViolationKind.NULL, expected, "null", column=self._labels[place])
        if not any(None in (aligned[place] or ()) for place in gapped):
            return self._outcome(request, frame, aligned, changed=True)
        if findings.fatal:
            return CheckedData(frame.rows)
        there = [
            (key, one) for key, one in zip(self.names, aligned, strict=True) if one is not None
        ]
        records = [
            {key: values[row] for key, values in there if values[row] is not None}
            for row in range(frame.rows)
        ]
        return CheckedData(frame.rows, form=body_forms.INPUTS, data=records)

    def _is_mergeable(self, frame: Frame, aligned: Sequence[Sequence[Any] | None]) -> bool:
        if not frame.rows or frame.holes or frame.index is not None:
            return False
        if self._has_any or self.writes_nan:
            return False
        return not any(None in (aligned[place] or ()) for place in self._retyped_by_null)


def _all_null(values: Sequence[Any]) -> bool:
    return all(value is None or value is ABSENT for value in values)
