"""The gate: checks each request against the signature of its model, before the model sees it."""

import logging
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from model_deployment.core.options import Validation
from model_deployment.core.signature import Signature
from model_deployment.gate import body_forms
from model_deployment.gate.body_forms import ParsedBody
from model_deployment.gate.check_result import CheckResult, Findings
from model_deployment.gate.column_schema import CheckedData, ColumnSchema
from model_deployment.gate.csv_body import check_csv
from model_deployment.gate.mergeable import (
    Mergeable,
    MergeableTable,
    MergeableTensors,
    joined_tensors,
)
from model_deployment.gate.nested_rules import COMPLEX
from model_deployment.gate.param_schema import ParamSchema
from model_deployment.gate.tensor_schema import TensorSchema

_log = logging.getLogger(__name__)

#: Unchecked requests of more rows are not read: merging them with others is not worth it.
_WORTH_JOINING = 1000

#: What compiling a signature raises that MLflow would not write.
_MALFORMED = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)


class Gate:
    """What one deployment accepts, compiled once."""

    def __init__(
        self,
        signature: Signature | None,
        mapping: Mapping[str, Any],
        validation: Validation,
        *,
        streams: bool = False,
    ) -> None:
        """
        Args:
            signature: as the ``MLmodel`` file has it. Without one, or with one that MLflow would not
                write, every body passes that has one of MLflow's forms.
            mapping: ``type_mapping.json``.
            streams: the model can stream, so a request may have the member ``stream``.
        """
        self._streams = streams
        self._validation = Validation(validation)
        self._lenient = validation is Validation.COERCE
        self._hinted = signature is not None and signature.from_type_hint
        self._specs: list[dict[str, Any]] = []
        self._data: ColumnSchema | TensorSchema | None = None
        self._params: ParamSchema | None = None
        self._columns: frozenset[str] = frozenset()
        self._complex = False
        #: The model gets a list of values, which MLflow takes from the one column of a table.
        self._single = False
        if signature is None:
            return
        try:
            specs = [] if self._hinted else signature.inputs or []
            if specs and all(spec["type"] == "tensor" for spec in specs):
                self._data = TensorSchema(specs, mapping, signature.gaps)
            elif specs:
                self._data = ColumnSchema(specs, mapping, signature.gaps)
            self._params = ParamSchema(signature.params or [], mapping)
            self._specs = specs
            kinds = {str(spec["type"]) for spec in signature.inputs or []}
            self._single = (
                self._hinted and bool(kinds) and kinds.isdisjoint({"object", "map", "any"})
            )
            self._complex = any(spec["type"] in COMPLEX for spec in specs)
            self._columns = frozenset(self._data.names if self._data else ())
        except _MALFORMED as error:
            _log.warning("cannot read the signature, so requests are not checked: %r", error)
            self._data = self._params = None

    @property
    def hinted(self) -> bool:
        """Whether the model reads its input by type hints: it takes ``inputs`` or bare records only."""
        return self._hinted

    @property
    def takes_tensors(self) -> bool:
        return isinstance(self._data, TensorSchema)

    @property
    def unmergeable(self) -> str:
        """Why no requests can be merged, in a clause; empty if some can be."""
        return self._data.unmergeable if isinstance(self._data, TensorSchema) else ""

    @property
    def checked(self) -> bool:
        """Whether the data is checked against a signature."""
        return self._data is not None

    def accepts_nan(self, body: Any) -> bool:
        """Whether MLflow reads a bare NaN as null in this body: not inside of values."""
        params = body.get(body_forms.PARAMS) if type(body) is dict else None
        return not self._complex and not params

    @property
    def writes_nan(self) -> bool:
        """Whether payloads may have NaN in them, which is JSON to MLflow only."""
        return isinstance(self._data, ColumnSchema) and self._data.writes_nan

    def gaps(self, body: Any) -> frozenset[int]:
        """The places of the inputs in which a body has missing values; empty if it is not a request."""
        request = body_forms.parse(body, self._columns, Findings())
        if request is None or request.llm or self._data is None:
            return frozenset()
        return self._data.gaps(request)

    def check(self, body: Any, *, truths: bool = True) -> CheckResult:
        """Check a parsed JSON body. The body is not changed; the payload may share parts with it.

        Args:
            truths: there may be true or false in it; a text without them is checked faster.
        """
        stream = body.get(body_forms.STREAM) if self._streams and type(body) is dict else None
        if type(stream) is not bool or body_forms.STREAM in self._columns:
            return self._check(body, truths)
        rest = {name: value for name, value in body.items() if name != body_forms.STREAM}
        result = self._check(rest, truths)
        if result.refused:
            return result
        payload = rest if result.payload is None else result.payload
        # Each stream is a call of its own.
        if stream:
            return replace(result, payload=payload | {body_forms.STREAM: True}, table=None)
        return replace(result, payload=payload)

    def _check(self, body: Any, truths: bool) -> CheckResult:
        findings = Findings(self._lenient, truths)
        request = body_forms.parse(
            body, self._columns, findings, nested=self._hinted or bool(self._columns)
        )
        if request is None or request.llm:
            return self._result(findings, None, None, None)
        if self._params is None:
            return self._result(findings, request, self._read_unchecked(request), request.params)
        if request.extras:
            expected = "nothing besides the data and params"
            findings.add_unknown(request.extras, lambda name: expected, "another member")
        outcome = self._check_data(request, findings)
        params = self._params.check(request.params, findings)
        return self._result(findings, request, outcome, params)

    def check_csv(self, text: str) -> CheckResult:
        """Check a CSV body, which goes to the model unchanged or not at all.

        Raises:
            MalformedText: it cannot be parsed, or its rows are not as wide as its header.
        """
        findings = Findings(self._lenient)
        rules = self._data.rules if isinstance(self._data, ColumnSchema) else []
        if isinstance(self._data, ColumnSchema) and not self._data.check_names(findings):
            return self._result(findings, None, None, None)
        rows = check_csv(text, self._specs, rules, findings, single=self._single)
        return self._result(findings, None, CheckedData(rows), None)

    def join(self, tables: Sequence[Mergeable]) -> dict[str, Any]:
        """One body for the rows of several requests, whose keys must be equal; rows in order."""
        tensors = [one for one in tables if isinstance(one, MergeableTensors)]
        if tensors:
            payload: dict[str, Any] = {body_forms.INPUTS: joined_tensors(tensors)}
        else:
            frames = [one for one in tables if isinstance(one, MergeableTable)]
            payload = {body_forms.SPLIT: self._joined_frames(frames)}
        if tables[0].params:
            payload[body_forms.PARAMS] = tables[0].params
        return payload

    def _joined_frames(self, tables: Sequence[MergeableTable]) -> dict[str, Any]:
        if isinstance(self._data, ColumnSchema):
            return self._data.join(tables)
        rows = [row for table in tables for row in zip(*table.values, strict=True)]
        return {"columns": list(tables[0].columns), "data": rows}

    def _check_data(self, request: ParsedBody, findings: Findings) -> CheckedData | None:
        if self._data is not None:
            return self._data.check(request, findings)
        if not self._hinted:
            return self._read_unchecked(request)
        # A model with a type hint accepts no other form, and checks its values itself.
        if request.is_bare:
            return CheckedData(len(request.data), form=body_forms.INPUTS, data=request.data)
        if request.form != body_forms.INPUTS:
            findings.add_form("inputs: the model takes no other form", request.form)
        return CheckedData(len(request.data) if type(request.data) is list else None)

    def _read_unchecked(self, request: ParsedBody) -> CheckedData:
        """The rows of an unchecked frame, and its table if it can be merged."""
        rows = request.data.get("data") if type(request.data) is dict else request.data
        if request.form not in body_forms.FRAMES or type(rows) is not list:
            return CheckedData()
        if len(rows) > _WORTH_JOINING:
            return CheckedData(len(rows))
        frame = body_forms.read_frame(request, None, Findings())
        if frame is None or not frame.rows or frame.index is not None:
            return CheckedData(len(rows))
        types = tuple(map(_only_type, frame.values))
        if None in types or not types:
            return CheckedData(frame.rows)
        known = tuple([one for one in types if one is not None])
        table = MergeableTable(tuple(frame.names), tuple(frame.values), frame.rows, types=known)
        return CheckedData(frame.rows, table)

    def _result(
        self,
        findings: Findings,
        request: ParsedBody | None,
        outcome: CheckedData | None,
        params: Any,
    ) -> CheckResult:
        fatal = findings.fatal > 0
        refused = fatal and self._validation is not Validation.OBSERVE
        table = outcome.table if outcome and not fatal else None
        if table is not None and params:
            table = replace(table, params=params)
        payload = None if refused else self._payload(findings, request, outcome, params)
        rows = outcome.rows if outcome else None
        if not findings.count:
            return CheckResult(payload, table=table, rows=rows)
        checked = self.checked or self._hinted
        return CheckResult(
            payload,
            refused,
            findings.first_violations,
            findings.count,
            findings.tally,
            table,
            rows,
            checked,
        )

    def _payload(
        self,
        findings: Findings,
        request: ParsedBody | None,
        outcome: CheckedData | None,
        params: Any,
    ) -> Any:
        """What is sent instead of the body; None if the body is."""
        if request is None:
            return None
        form, data = request.form, request.data
        if findings.fatal:
            # Only observed: the body is sent as it came, unless MLflow does not know its form.
            if not request.is_bare:
                return None
            params = request.params
            form = body_forms.INPUTS if self._hinted else form
        else:
            converted = outcome is not None and outcome.form is not None
            dropped = bool(request.extras) and self._params is not None
            if not (converted or request.is_bare or dropped or params is not request.params):
                return None
            if outcome is not None and outcome.form is not None:
                form, data = outcome.form, outcome.data
        return {form: data, body_forms.PARAMS: params} if params is not None else {form: data}


def _only_type(values: Sequence[Any]) -> type | None:
    """The type of all values of a column, if pandas keeps it when values of this type are added."""
    types = set(map(type, values))
    if len(types) != 1:
        return None
    (only,) = types
    if only is int:
        try:
            array("q", values)
        except OverflowError:
            return None
    return only if only in (int, float, str, bool) else None
