"""What depends on the version of MLflow whose server a fork stands for."""

import importlib.util
from types import SimpleNamespace
from typing import Any

import pytest

from model_deployment.worker.mlflow_server import Invocations

pytestmark = pytest.mark.filterwarnings("ignore")  # importing MLflow warns

WSGI = "mlflow.pyfunc.scoring_server.wsgi"


@pytest.fixture(params=["flask", "fastapi"])
def era(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which application MLflow's server is."""
    flask = request.param == "flask"
    kept = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: flask if name == WSGI and flask else kept(name)
    )
    return str(request.param)


@pytest.fixture
def served(era: str, monkeypatch: pytest.MonkeyPatch) -> Invocations:
    """Answers what it was asked, and what Flask knows of the request."""
    from mlflow.pyfunc import scoring_server

    def invocations(data: Any, content_type: Any, model: Any, schema: Any) -> Any:
        import flask

        known = flask.request.content_type if flask.has_request_context() else None
        return SimpleNamespace(told=(data, content_type, known, schema))

    monkeypatch.setattr(scoring_server, "invocations", invocations)
    schema = SimpleNamespace(get_input_schema=lambda: "schema")
    return Invocations(SimpleNamespace(metadata=schema))


def test_models_of_the_flask_server_compute_one_prediction_at_a_time(
    era: str, served: Invocations
) -> None:
    assert served.at_once == (1 if era == "flask" else None)


def test_flask_server_reads_text_and_its_own_request(era: str, served: Invocations) -> None:
    body = "Grüße".encode()
    if era == "flask":
        assert served(body, "text/x").told == ("Grüße", "text/x", "text/x", "schema")
    else:
        assert served(body, "text/x").told == (body, "text/x", None, "schema")


def test_bytes_that_are_no_text_fail_as_in_flask(era: str, served: Invocations) -> None:
    if era == "flask":
        with pytest.raises(UnicodeDecodeError):
            served(b"\xff", "text/csv")
    else:
        assert served(b"\xff", "text/csv").told[0] == b"\xff"
