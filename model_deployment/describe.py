"""What a cached model says of itself: its signature, an input example, and the gate made of them."""

import json
import logging
from pathlib import Path
from typing import Any

import orjson
import yaml

from model_deployment.gate import Gate
from model_deployment.options import Validation
from model_deployment.signature import Signature, from_mlmodel, sample

_log = logging.getLogger(__name__)

#: The one written in C, where PyYAML was built with it, reads large signatures ten times as fast.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

#: What reading a file written by anybody may end in.
_NONSENSE = (yaml.YAMLError, ValueError, TypeError, AttributeError, KeyError, RecursionError)


class Description:
    """Reads ``MLmodel`` files, and knows an example of each MLflow type."""

    def __init__(self) -> None:
        self._mapping = json.loads(_type_mapping().read_text(encoding="utf-8"))
        self._examples = {kind: entry["example"] for kind, entry in self._mapping.items()}

    def read(self, model_path: Path) -> tuple[dict[str, Any] | None, Any, Any]:
        """Signature, scoring example, and a sample request made from the signature.

        Missing and unreadable parts are None: the model may still serve.
        """
        signature, document = _read(model_path)
        try:
            request = sample(signature, self._examples)
        except _NONSENSE:
            signature, request = None, sample(None, self._examples)
        return (
            signature.as_dict() if signature else None,
            _scoring_example(model_path, document) if document else None,
            request,
        )

    def example(self, model_path: Path) -> Any:
        """A scoring request: the model's own, else one made from its signature, else None."""
        signature, own, made = self.read(model_path)
        return own if own is not None else made if signature else None

    def gate(self, model_path: Path, validation: Validation) -> Gate:
        """The check of requests against the signature; without one, everything passes."""
        return Gate(_read(model_path)[0], self._mapping, validation)


def _read(model_path: Path) -> tuple[Signature | None, Any]:
    """The signature, and the whole of the ``MLmodel`` file."""
    try:
        text = (model_path / "MLmodel").read_text(encoding="utf-8")
        document = yaml.load(text, _Loader)  # noqa: S506 - the safe one
        return from_mlmodel(document), document
    except FileNotFoundError:
        return None, None
    except _NONSENSE as error:
        _log.warning("cannot read the signature in %s: %s", model_path, error)
        return None, None


def _scoring_example(model_path: Path, document: Any) -> Any:
    """The request MLflow saved beside the model, in the form its server takes."""
    info = document.get("saved_input_example_info")
    if not isinstance(info, dict):
        info = {}
    # The name comes from the model: only its last part is used, inside the model's folder.
    name = Path(str(info.get("serving_input_path", "serving_input_example.json"))).name
    try:
        return orjson.loads((model_path / name).read_bytes())
    except (OSError, ValueError):
        return None


def _type_mapping() -> Path:
    package = Path(__file__).parent
    inside = package / "type_mapping.json"
    return inside if inside.is_file() else package.parent / "type_mapping.json"
