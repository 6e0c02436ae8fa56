"""Reads the table of a request in any form, as MLflow reads it with a signature of columns."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from model_deployment.gate import body_forms
from model_deployment.gate.body_forms import ABSENT, Frame, ParsedBody
from model_deployment.gate.check_result import Findings, ViolationKind, describe
from model_deployment.gate.column_names import ColumnNames
from model_deployment.gate.datetime_rules import MISSING_TIME
from model_deployment.gate.nested_rules import COMPLEX

#: Types of which MLflow keeps the values in ``inputs``.
KEPT = frozenset({"long", "double", "string", "boolean"})


class TableReader:
    """Reads the requests for one signature."""

    def __init__(self, specs: Sequence[Mapping[str, Any]], naming: ColumnNames) -> None:
        kinds = [str(spec["type"]) for spec in specs]
        self._names = naming
        self._wanted = naming.keys if naming.named else None
        self._places = {key: place for place, key in enumerate(naming.keys)}
        self._complex = not COMPLEX.isdisjoint(kinds)
        self._plain = not {"object", "array"}.isdisjoint(kinds) and all(map(_is_plain, specs))
        self._any = [kind == "any" for kind in kinds]
        self._single = naming.numbered and len(kinds) == 1
        #: The one column that has no name; None if there are more, or names.
        self._lone = kinds[0] if not naming.named and len(kinds) == 1 else None

    def read(self, request: ParsedBody, findings: Findings) -> Frame | None:
        """The table; None, and violations, if there is none."""
        if request.form == body_forms.SPLIT:
            return body_forms.read_split(request.data, findings)
        if request.form == body_forms.RECORDS:
            if self._names.numbered and body_forms.are_rows(request.data):
                return body_forms.read_rows(request.data, findings)
            if self._single and _are_scalars(request.data):
                # pandas makes a column of them whose name is 0.
                return Frame([0], [request.data], len(request.data), faithful=False)
            return self._renamed(body_forms.read_records(request.data, self._wanted, findings))
        return self._read_arrays(request, findings)

    def _renamed(self, frame: Frame | None) -> Frame | None:
        """The frame with column names instead of the JSON keys that stand for them, unknown to MLflow."""
        if frame is not None and self._names.named and self._names.numbered:
            frame.names = [self._names.by_key[str(name)] for name in frame.names]
            frame.faithful = False
        return frame

    def _read_arrays(self, request: ParsedBody, findings: Findings) -> Frame | None:
        """The table in ``instances`` or ``inputs``, read as MLflow does, or would if it could.

        MLflow converts these columns in other ways than frames, and base64 not at all, so they are sent
        as a frame. Only a model that takes arrays notices the difference, and gets the original body
        where MLflow reads the same in it.
        """
        data, form = request.data, request.form
        frame: Frame | None
        if body_forms.are_records(data):
            frame = self._renamed(body_forms.read_records(data, self._wanted, findings, form))
        elif not self._names.named:
            frame = self._read_unnamed(data, form, findings)
        elif type(data) is list and len(self._names.keys) == 1 and dict not in set(map(type, data)):
            frame = self._read_dict({self._names.keys[0]: data}, form, findings)
        elif self._names.numbered and body_forms.are_rows(data):
            # Numbered columns come from an array. MLflow gives all of them the type of the first.
            frame = body_forms.read_rows(data, findings)
        elif type(data) is dict:
            frame = self._read_dict(data, form, findings)
        else:
            findings.add_form(
                f"{form}: an object with columns, or a list of records",
                describe(data),
            )
            return None
        if frame is not None:
            # For a column without a name MLflow reads all data as one list.
            alone = self._complex and not self._names.named
            kept = self._plain and form == body_forms.INPUTS and not alone
            frame.faithful = frame.faithful and kept and _is_kept(frame)
        return frame

    def _read_dict(self, data: dict[str, Any], form: str, findings: Findings) -> Frame | None:
        """Columns by name, or one record, as MLflow reads it."""
        known = {name: data[name] for name in self._names.keys if name in data}
        unknown = tuple(data.keys() - known.keys())
        names = list(known)
        if self._complex or all(
            type(value) not in (list, dict) or (self._any[self._places[name]] and _all_text(value))
            for name, value in known.items()
        ):
            values = [(value,) for value in known.values()]
            return self._renamed(Frame(names, values, 1, unknown=unknown))
        height = max(len(value) if type(value) is list else 0 for value in known.values())
        odd = [name for name, one in known.items() if type(one) is not list or len(one) != height]
        for name in odd:
            one = known[name]
            got = f"{len(one)}" if type(one) is list else describe(one)
            findings.add(
                ViolationKind.RAGGED, f"{form}: a list of {height} values", got, column=name
            )
        if odd:
            return None
        return self._renamed(Frame(names, list(known.values()), height, unknown=unknown))

    def _read_unnamed(self, data: Any, form: str, findings: Findings) -> Frame | None:
        """Rows as lists, or the values of a single column."""
        if self._lone is not None:
            values = data if type(data) is list else [data]
            simple = self._lone not in COMPLEX and self._lone != "any"
            if simple and body_forms.are_rows(values):
                return body_forms.read_rows(values, findings)
            if type(data) is not dict:
                return Frame([0], [values], len(values))
        if body_forms.are_rows(data):
            return body_forms.read_rows(data, findings)
        findings.add_form(f"{form}: a list of rows, each a list", describe(data))
        return None


def _is_plain(spec: Mapping[str, Any]) -> bool:
    """Whether MLflow keeps values of this type in ``inputs`` unchanged."""
    kind = spec["items"]["type"] if spec["type"] == "array" else spec["type"]
    if spec["type"] == "array":
        return kind in KEPT or kind == "object"
    return kind in KEPT or kind in ("object", "map")


def _is_kept(frame: Frame) -> bool:
    """Whether MLflow keeps these values in ``inputs``: it turns null into "None", and cuts off NULs."""
    return not frame.holes and not any(
        value is None or (type(value) is str and value.endswith("\0"))
        for values in frame.values
        for value in values
    )


def _are_scalars(data: Any) -> bool:
    """Whether data is a list of values that are neither lists nor objects."""
    return type(data) is list and bool(data) and {list, dict}.isdisjoint(map(type, data))


def _all_text(value: Any) -> bool:
    return type(value) is list and set(map(type, value)) <= {str}


def has_gap(values: Iterable[Any]) -> bool:
    """Whether a value is missing among these or inside one of them."""
    for value in values:
        if value is None or value is ABSENT or value == MISSING_TIME:
            return True
        if type(value) is list and has_gap(value):
            return True
        if type(value) is dict and has_gap(value.values()):
            return True
    return False
