"""Reads the ``MLmodel`` file of a cached model: signature, input example, and the gate made of them."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from model_deployment.core.agent import agent_of
from model_deployment.core.model_kind import ModelKind
from model_deployment.core.options import Validation
from model_deployment.core.series import series_of
from model_deployment.core.signature import Signature, from_mlmodel, sample
from model_deployment.gate import Gate, MalformedJson, fitting, loads

_log = logging.getLogger(__name__)

#: The loader in C, if PyYAML was built with it, reads large signatures ten times as fast.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

#: Errors of reading a file that anybody may have written.
_MALFORMED = (yaml.YAMLError, ValueError, TypeError, AttributeError, KeyError, RecursionError)


#: Limits of a request that is shown: a word of a shell command has 128 KiB at most.
_MOST_BYTES = 100_000
_MOST_NUMBERS = 30_000
#: Numbers of a tensor that is made to compare predictions: those of a colour image of 590 by 590.
_MOST_COMPARED = 1 << 20


class MLmodelReader:
    """Reads ``MLmodel`` files; has an example of each MLflow type."""

    def __init__(self) -> None:
        self._mapping = json.loads(_type_mapping().read_text(encoding="utf-8"))
        self._examples = {kind: entry["example"] for kind, entry in self._mapping.items()}
        for dtype, entry in self._mapping["tensor"]["dtypes"].items():
            if entry["as"] in ("string", "boolean", "datetime"):
                self._examples[f"tensor of {dtype}"] = self._examples[entry["as"]]

    def read(self, model_path: Path) -> tuple[dict[str, Any] | None, Any, Any]:
        """The signature, the input example, and a request to show, which the gate accepts.

        A missing or unreadable part is None: the model may serve all the same. The request is the example,
        or its first row that the gate accepts, or made from the signature.
        """
        signature, own = self._signature_and_example(model_path)
        try:
            request = sample(signature, self._examples, _MOST_NUMBERS)
        except _MALFORMED:
            signature, request = None, sample(None, self._examples)
        gate = Gate(signature, self._mapping, Validation.STRICT)
        fit = fitting(gate, own, _MOST_BYTES)
        return signature.as_dict() if signature else None, own, request if fit is None else fit

    def example(self, model_path: Path) -> Any:
        """A request to show: the model's own, else one made from its signature, else None."""
        signature, own, request = self.read(model_path)
        return request if signature or own is not None else None

    def comparable(self, model_path: Path) -> Any:
        """A request whose rows show whether the model predicts each by itself; None if there is none.

        As :meth:`example`, but for a model of tensors of any size: its own rows tell more than one of
        zeros, and one image may be larger than what anybody wants to be shown.
        """
        signature, own = self._signature_and_example(model_path)
        gate = Gate(signature, self._mapping, Validation.COERCE)
        if not gate.takes_tensors:
            return self.example(model_path)
        if own is not None and gate.check(own).table is not None:
            return own
        return sample(signature, self._examples, _MOST_COMPARED)

    def flavors(self, model_path: Path) -> Any:
        """The flavors of the model, as its file has them; None if there are none."""
        _, document = _read(model_path)
        return document.get("flavors") if isinstance(document, dict) else None

    def gate(self, model_path: Path, validation: Validation) -> Gate:
        """The gate for the signature; without a signature it accepts everything."""
        signature, document = _read(model_path)
        signature = self._with_gaps(signature, _scoring_example(model_path, document))
        streams = agent_of(document).streams
        return Gate(signature, self._mapping, validation, streams=streams)

    def kind(self, model_path: Path) -> ModelKind:
        """What the model is to callers who chat with it, or give it the values of a series."""
        signature, document = _read(model_path)
        if signature is None:
            return ModelKind(agent_of(document), series_of(document))
        inputs, params = signature.inputs or (), signature.params or ()
        names = frozenset(str(one["name"]) for one in (*inputs, *params) if "name" in one)
        return ModelKind(agent_of(document, names or None), series_of(document, inputs, params))

    def _signature_and_example(self, model_path: Path) -> tuple[Signature | None, Any]:
        """The signature, extended by the gaps of the example, and the example."""
        signature, document = _read(model_path)
        example = _scoring_example(model_path, document)
        return self._with_gaps(signature, example), example

    def _with_gaps(self, signature: Signature | None, example: Any) -> Signature | None:
        if signature is not None and example is not None:
            gaps = Gate(signature, self._mapping, Validation.OBSERVE).gaps(example)
            signature = replace(signature, gaps=gaps) if gaps else signature
        return signature


def _read(model_path: Path) -> tuple[Signature | None, Any]:
    """The signature, and the parsed ``MLmodel`` file."""
    try:
        text = (model_path / "MLmodel").read_text(encoding="utf-8")
        document = yaml.load(text, _Loader)  # noqa: S506 - the safe one
        return from_mlmodel(document), document
    except FileNotFoundError:
        return None, None
    except _MALFORMED as error:
        _log.warning("cannot read the signature in %s: %s", model_path, error)
        return None, None


def _scoring_example(model_path: Path, document: Any) -> Any:
    """The request that MLflow saved beside the model, in the form of its scoring server.

    MLflow 2.9 saved only the example, so the request is made of that.
    """
    if not document:
        return None
    info = document.get("saved_input_example_info")
    if not isinstance(info, dict):
        info = {}
    # The model chooses the name, so only the last part of it is used.
    name = Path(str(info.get("serving_input_path", "serving_input_example.json"))).name
    request = _json(model_path / name)
    if request is not None or "artifact_path" not in info:
        return request
    return _request_of(_json(model_path / Path(str(info["artifact_path"])).name), info)


def _json(path: Path) -> Any:
    try:
        return loads(path.read_bytes())
    except (OSError, ValueError, MalformedJson):
        return None


def _request_of(example: Any, info: dict[str, Any]) -> Any:
    """The scoring request of a saved example (``mlflow.models.utils._Example``); None for other kinds.

    Args:
        info: ``saved_input_example_info`` of the ``MLmodel`` file.
    """
    if not isinstance(example, dict):
        return None
    params = {}
    if str(info.get("params")).lower() == "true":
        params = {"params": example.get("params")}
        example = example.get("inputs")
    match info.get("type"), example:
        case "dataframe", {"data": list()}:  # the orientation "values" has no columns
            return {"dataframe_split": example, **params}
        case "ndarray", {"inputs": inputs}:
            return {"inputs": inputs, **params}
    return None


def _type_mapping() -> Path:
    package = Path(__file__).parents[1]
    inside = package / "type_mapping.json"
    return inside if inside.is_file() else package.parent / "type_mapping.json"
