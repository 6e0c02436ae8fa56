"""What a cached model says of itself: its signature, and an input example."""

import json
import logging
from pathlib import Path
from typing import Any

import orjson
import yaml

from model_deployment.signature import from_mlmodel, sample

_log = logging.getLogger(__name__)

#: What reading a file written by anybody may end in.
_NONSENSE = (yaml.YAMLError, ValueError, TypeError, AttributeError, KeyError, RecursionError)


class Description:
    """Reads ``MLmodel`` files, and knows an example of each MLflow type."""

    def __init__(self) -> None:
        mapping = json.loads(_type_mapping().read_text(encoding="utf-8"))
        self._examples = {kind: entry["example"] for kind, entry in mapping.items()}

    def read(self, model_path: Path) -> tuple[dict[str, Any] | None, Any, Any]:
        """Signature, scoring example, and a sample request made from the signature.

        Missing and unreadable parts are None: the model may still serve.
        """
        try:
            document = yaml.safe_load((model_path / "MLmodel").read_text(encoding="utf-8"))
            signature = from_mlmodel(document)
            request = sample(signature, self._examples)
        except FileNotFoundError:
            return None, None, sample(None, self._examples)
        except _NONSENSE as error:
            _log.warning("cannot read the signature in %s: %s", model_path, error)
            return None, None, sample(None, self._examples)
        return (
            signature.as_dict() if signature else None,
            _scoring_example(model_path, document),
            request,
        )


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
