"""The gate of a signature of columns: aligns a table with it, and checks it column by column."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import is_not
from typing import Any

from model_deployment.gate import forms
from model_deployment.gate.forms import ABSENT, Frame, Request
from model_deployment.gate.nested import COMPLEX, column_rule
from model_deployment.gate.rules import Fault, Rule
from model_deployment.gate.verdict import SHOWN, Findings, Kind, Table, clip, shown

_KEPT = frozenset({"long", "double", "string", "boolean"})
_NOTHING_KNOWN = "at least one column of the signature"


@dataclass(slots=True)
class Outcome:
    """What became of the data of a request."""

    rows: int | None = None
    table: Table | None = None
    #: Form and data to send on, if not those that came.
    form: str | None = None
    data: Any = None


class Columns:
    """A signature of columns, compiled."""

    def __init__(self, specs: Sequence[Mapping[str, Any]], mapping: Mapping[str, Any]) -> None:
        """Compile.

        Raises:
            ValueError, LookupError, TypeError: the signature is not as MLflow writes it.
        """
        self._rules: list[Rule] = [column_rule(spec, mapping) for spec in specs]
        kinds = [str(spec["type"]) for spec in specs]
        self._named = all(spec.get("name") is not None for spec in specs)
        self.names = [str(spec["name"]) for spec in specs] if self._named else []
        self._all = tuple(self.names)
        #: Names to tell the columns by, if only their numbers.
        self._labels = self.names or [str(place) for place in range(len(specs))]
        self._places = {name: place for place, name in enumerate(self.names)}
        self._required = [
            bool(spec.get("required", kind not in COMPLEX and kind != "any"))
            for spec, kind in zip(specs, kinds, strict=True)
        ]
        self._complex = not COMPLEX.isdisjoint(kinds)
        self._plain = not {"object", "array"}.isdisjoint(kinds) and all(map(_is_plain, specs))
        self._array = [kind in COMPLEX for kind in kinds]
        self._any = [kind == "any" for kind in kinds]
        # Alone, a column of nulls is another thing to pandas than with text in it.
        self._fickle = [
            place
            for place, kind in enumerate(kinds)
            if kind == "string" and not self._required[place]
        ]

    def check(self, request: Request, findings: Findings) -> Outcome | None:
        """Check the data; None if there is no table in it."""
        frame = self._read(request, findings)
        if frame is None:
            return None
        aligned = self._align(frame, findings)
        changed = False
        for place, rule in enumerate(self._rules):
            values = aligned[place]
            if values is not None and (frame.holes or not rule.passes(values)):
                changed |= self._look_closer(place, aligned, findings)
        if findings.fatal:
            return Outcome(frame.rows)
        if frame.rows and all(values is None for values in aligned):
            # pandas makes no rows of it, and the caller would get no answer to them.
            findings.add(Kind.FORM, _NOTHING_KNOWN, "none")
            return Outcome(frame.rows)
        return self._outcome(request, frame, aligned, changed or len(frame.unknown) > 0)

    def join(self, tables: Sequence[Table]) -> dict[str, Any]:
        """One request for several tables of equal keys, their rows in order."""
        first = tables[0]
        columns: list[list[Any]] = [[] for _ in first.columns]
        for table in tables:
            for column, values in zip(columns, table.values, strict=True):
                column.extend(values)
        if self._named:
            rules = [self._rules[self._places[str(name)]] for name in first.columns]
            columns = [rule.finish(values) for rule, values in zip(rules, columns, strict=True)]
        return {"columns": list(first.columns), "data": list(zip(*columns, strict=True))}

    def _read(self, request: Request, findings: Findings) -> Frame | None:
        wanted = self.names if self._named else None
        if request.form == forms.SPLIT:
            return forms.read_split(request.data, findings)
        if request.form == forms.RECORDS:
            return forms.read_records(request.data, wanted, findings)
        return self._read_arrays(request, findings)

    def _read_arrays(self, request: Request, findings: Findings) -> Frame | None:
        """The table in ``instances`` or ``inputs``, read as MLflow does, or would if it could.

        It converts these column by column in other ways than frames, and not base64 at all; so they
        are sent on as a frame. Only a model that takes arrays could tell the difference, and gets
        the original where that says the same.
        """
        data, form = request.data, request.form
        frame: Frame | None
        if type(data) is list and data and set(map(type, data)) == {dict}:
            wanted = self.names if self._named else None
            frame = forms.read_records(data, wanted, findings, form)
        elif not self._named:
            frame = self._read_unnamed(data, form, findings)
        elif type(data) is list and len(self.names) == 1 and dict not in set(map(type, data)):
            frame = self._read_dict({self.names[0]: data}, form, findings)
        elif type(data) is dict:
            frame = self._read_dict(data, form, findings)
        else:
            findings.add(
                Kind.FORM, f"{form}: an object with columns, or a list of records", shown(data)
            )
            return None
        if frame is not None:
            frame.faithful = self._plain and form == forms.INPUTS and _is_kept(frame)
        return frame

    def _read_dict(self, data: dict[str, Any], form: str, findings: Findings) -> Frame | None:
        """Columns by name; or one record, if that is how MLflow reads it."""
        known = {name: data[name] for name in self.names if name in data}
        unknown = tuple(data.keys() - known.keys())
        if self._complex or all(
            type(value) not in (list, dict) or (self._any[self._places[name]] and _all_text(value))
            for name, value in known.items()
        ):
            return Frame(list(known), [(value,) for value in known.values()], 1, unknown=unknown)
        height = max(len(value) if type(value) is list else 0 for value in known.values())
        odd = [name for name, one in known.items() if type(one) is not list or len(one) != height]
        for name in odd:
            one = known[name]
            got = f"{len(one)}" if type(one) is list else shown(one)
            findings.add(Kind.RAGGED, f"{form}: a list of {height} values", got, column=name)
        if odd:
            return None
        return Frame(list(known), list(known.values()), height, unknown=unknown)

    def _read_unnamed(self, data: Any, form: str, findings: Findings) -> Frame | None:
        """Rows, each a list; or, of a single column, its values."""
        if len(self._rules) == 1:
            values = data if type(data) is list else [data]
            if not self._array[0] and not self._any[0] and set(map(type, values)) == {list}:
                return forms.read_split({"data": values}, findings)
            if type(data) is not dict:
                return Frame([0], [values], len(values))
        if type(data) is list and data and set(map(type, data)) == {list}:
            return forms.read_split({"data": data}, findings)
        findings.add(Kind.FORM, f"{form}: a list of rows, each a list", shown(data))
        return None

    def _align(self, frame: Frame, findings: Findings) -> list[Sequence[Any] | None]:
        """The columns in the order of the signature; None for those that are not there."""
        if frame.names == self.names and self._named:
            aligned: list[Sequence[Any] | None] = list(frame.values)
        elif self._named:
            aligned = [None] * len(self._rules)
            strangers = []
            for name, values in zip(frame.names, frame.values, strict=True):
                place = self._places.get(name) if type(name) is str else None
                if place is None:
                    strangers.append(str(name))
                else:
                    aligned[place] = values
            frame.unknown += tuple(strangers)
        else:
            width = len(self._rules)
            frame.unknown += tuple(map(str, frame.names[width:]))
            aligned = [*frame.values[:width]]
            aligned += [None] * (width - len(aligned))
        if frame.unknown:
            self._report_unknown(frame.unknown, findings)
        self._report_missing(aligned, findings)
        return aligned

    def _report_missing(self, aligned: Sequence[Sequence[Any] | None], findings: Findings) -> None:
        for place, values in enumerate(aligned):
            if values is None and self._required[place]:
                expected, name = self._rules[place].expected, self._labels[place]
                findings.add(Kind.MISSING, expected, "no such column", column=name)

    def _report_unknown(self, names: tuple[str, ...], findings: Findings) -> None:
        expected = f"one of {clip(', '.join(self._labels))}"
        for name in sorted(islice(names, SHOWN)):
            findings.add(
                Kind.UNKNOWN, expected, "another column", column=name, tally="", forgivable=True
            )
        findings.add_unseen(Kind.UNKNOWN, len(names) - SHOWN, forgivable=True)

    def _look_closer(
        self, place: int, aligned: list[Sequence[Any] | None], findings: Findings
    ) -> bool:
        """Take the values of one column one by one; whether it is another column then."""
        rule, values = self._rules[place], aligned[place] or ()
        take, lenient = rule.take, findings.lenient
        absent = (
            Fault(Kind.MISSING, rule.expected) if self._required[place] else take(None, lenient)
        )
        taken = [take(value, lenient) if value is not ABSENT else absent for value in values]
        if Fault in set(map(type, taken)):
            if findings.lenient and not self._required[place] and _all_null(values):
                # As if it had been left out, which is what was meant.
                aligned[place] = None
                return True
            self._report(place, taken, values, findings)
            return False
        taken = rule.finish(taken)
        if any(map(is_not, taken, values)):
            aligned[place] = taken
            return True
        return False

    def _report(
        self, place: int, taken: list[Any], values: Sequence[Any], findings: Findings
    ) -> None:
        name = self._labels[place]
        faults = ((row, fault) for row, fault in enumerate(taken) if type(fault) is Fault)
        for row, fault in islice(faults, SHOWN):
            where = f" at {clip(name + fault.path)}" if fault.path else ""
            got = shown(fault.value if fault.path else values[row])
            findings.add(fault.kind, fault.expected + where, got, column=name, row=row)
        for kind, count in Counter(fault.kind for _, fault in faults).items():
            findings.add_unseen(kind, count, tally=name)

    def _outcome(
        self, request: Request, frame: Frame, aligned: list[Sequence[Any] | None], changed: bool
    ) -> Outcome:
        values = tuple([one for one in aligned if one is not None])
        names: tuple[str | int, ...]
        if not self._named:
            names = tuple(frame.names[: len(values)])
        elif len(values) == len(aligned):
            names = self._all
        else:
            names = tuple(
                [n for n, one in zip(self.names, aligned, strict=True) if one is not None]
            )
        outcome = Outcome(frame.rows)
        if self._joinable(frame, aligned) and (request.form in forms.FRAMES or not frame.faithful):
            outcome.table = Table(names, values, frame.rows)
        if changed or not frame.faithful:
            data = {"columns": list(names), "data": list(zip(*values, strict=True))}
            if frame.index is not None:
                data["index"] = frame.index
            outcome.form, outcome.data = forms.SPLIT, data
        return outcome

    def _joinable(self, frame: Frame, aligned: Sequence[Sequence[Any] | None]) -> bool:
        if not frame.rows or frame.holes or frame.index is not None or True in self._any:
            return False
        return not any(None in (aligned[place] or ()) for place in self._fickle)


def _is_plain(spec: Mapping[str, Any]) -> bool:
    """Whether MLflow keeps values of a type in ``inputs``, as far as it depends on the type."""
    kind = spec["items"]["type"] if spec["type"] == "array" else spec["type"]
    if spec["type"] == "array":
        return kind in _KEPT or kind == "object"
    return kind in _KEPT or kind in ("object", "map")


def _is_kept(frame: Frame) -> bool:
    """Whether MLflow keeps these values in ``inputs``: it makes "None" of null, and cuts off NULs."""
    return not frame.holes and not any(
        value is None or (type(value) is str and value.endswith("\0"))
        for values in frame.values
        for value in values
    )


def _all_null(values: Sequence[Any]) -> bool:
    return all(value is None or value is ABSENT for value in values)


def _all_text(value: Any) -> bool:
    return type(value) is list and set(map(type, value)) <= {str}
