"""What MLflow answers to a model's example: ``pyfunc.predict`` and what ``mlflow models serve`` runs."""

import io
import json
from pathlib import Path
from typing import Any

from tests.flavors.forms import JSON, SAVED, Request, requests


def of(model_uri: str, example: Any, params: dict[str, Any], own: Path) -> dict[str, Any]:
    """The answers and the requests that they belong to, JSON-ready.

    Args:
        own: a folder for the model's files.
    """
    import mlflow
    from mlflow.models.utils import SERVING_INPUT_FILENAME

    local = Path(mlflow.artifacts.download_artifacts(model_uri, dst_path=str(own)))
    model = mlflow.pyfunc.load_model(str(local))
    asked = [*requests(example, params)]
    if (saved := local / SERVING_INPUT_FILENAME).exists():
        asked.append(Request(SAVED, JSON, saved.read_bytes()))
    return {
        "expected": _as_json(model.predict(example)),
        "with_params": _as_json(model.predict(example, params=params)) if params else None,
        "signature": model.metadata.signature is not None,
        "bytes": sum(path.stat().st_size for path in local.rglob("*") if path.is_file()),
        "requests": [one.as_json() for one in asked],
        "server": _served(model, asked),
    }


def _served(model: Any, asked: list[Request]) -> dict[str, tuple[int, str]]:
    """Status and body, by form, of the program that ``mlflow models serve`` runs."""
    from mlflow.pyfunc import scoring_server
    from starlette.testclient import TestClient

    found = {}
    with TestClient(scoring_server.init(model), raise_server_exceptions=False) as client:
        for one in asked:
            headers = {"Content-Type": one.media_type}
            answer = client.post("/invocations", content=one.body, headers=headers)
            found[one.form] = (answer.status_code, answer.text)
    return found


def _as_json(prediction: Any) -> Any:
    """As an answer has it: NaN and infinities are None."""
    from mlflow.pyfunc.scoring_server import predictions_to_json

    text = io.StringIO()
    predictions_to_json(prediction, text)
    return json.loads(text.getvalue(), parse_constant=lambda _: None)["predictions"]
