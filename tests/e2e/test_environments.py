"""In environments of models, a fork answers as ``mlflow models serve`` of that environment does.

``make environments`` runs all of these with every Python that is here, ``make test`` with an old MLflow,
and ``make long`` with a newer one.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from model_deployment.environments.environment import Environment
from tests.e2e.test_conformance import (
    OTHER,
    ROW,
    Request,
    _columns,
    _forms,
    _raw,
    post,
    records,
    split,
    without,
)
from tests.support import conforming_models
from tests.support.answer_pairs import Pair, Pairs, Told, save
from tests.support.pinned_environments import Pinned, build

#: Importing an old MLflow takes seconds, and saving models warns.
pytestmark = [pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]

ALL = "ENVIRONMENTS" in os.environ
USUAL = [
    Pinned("3.11", "2.9.2"),
    pytest.param(Pinned("3.11", "2.22.5"), marks=pytest.mark.long, id="mlflow2.22.5-python3.11"),
]
OTHERS = [
    Pinned("3.9", "2.9.2"), Pinned("3.9", "2.22.5"), Pinned("3.10", "2.16.2"),
    Pinned("3.10", "3.17.2"), Pinned("3.11", "3.17.2"), Pinned("3.12", "2.22.5"),
    Pinned("3.12", "3.0.1"), Pinned("3.13", "3.17.2"),
]  # fmt: skip
#: Seconds for a prediction; gunicorn, of MLflow up to 2.20, ends what has not loaded its model by then.
TIMEOUT = 60
#: What Flask answers with the status 500, where a fork answers a plain text.
PAGE = b"<!doctype html>"


@pytest.fixture(scope="module", params=USUAL + (OTHERS if ALL else []), ids=str)
def environment(request: pytest.FixtureRequest, run_folder: Path) -> Environment:
    return build(request.param, run_folder / "environments")


@pytest.fixture(scope="module")
def pairs(
    environment: Environment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Pair]]:
    """Models of the conformance suite, served both ways in an environment."""
    folder = tmp_path_factory.mktemp("environment")
    models = folder / "models"
    models.mkdir()
    save(Path(conforming_models.__file__), models, str(environment.python))
    with ExitStack() as stack:
        made = stack.enter_context(Pairs(folder, models, environment, TIMEOUT))
        yield made.start(conforming_models.NAMES if ALL else ("columns",))


def agree(pair: Pair, requests: list[Request]) -> None:
    """Check that both answer alike: the same status and type, and the same values."""
    found = []
    for method, path, body, headers in requests:
        serve, fork = pair.ask(method, path, body, headers)
        if not same(serve, fork):
            found.append(f"{method} {path} {body[:200]!r} {headers}\n  {serve}\n  {fork}")
    assert not found, "\n".join(found)


def same(serve: Told, fork: Told) -> bool:
    if isinstance(serve[2], bytes) and serve[2].startswith(PAGE):
        return bool(serve[0] == fork[0] >= 400)
    return serve == fork


def test_columns_of_every_type_in_every_form(pairs: dict[str, Pair]) -> None:
    bodies = _columns() if ALL else [*_columns()[::7], *_forms(ROW, OTHER, ROW)]
    agree(pairs["columns"], [post(body) for body in bodies])


def test_bytes_that_are_no_request_and_other_paths(pairs: dict[str, Pair]) -> None:
    # Some versions of MLflow answer HEAD as well.
    agree(pairs["columns"], [request for request in _raw() if request[0] != "HEAD"])


@pytest.mark.skipif(not ALL, reason="make environments")
def test_whatever_a_model_answers(pairs: dict[str, Pair]) -> None:
    from tests.support.model_code import odd  # sets the model of this process, which nothing reads

    agree(pairs["odd"], [post(split({"x": number})) for number in range(odd.SLOW)])


@pytest.mark.skipif(not ALL, reason="make environments")
def test_columns_that_may_be_left_out(pairs: dict[str, Pair]) -> None:
    row = {"x": 1.5, "y": 2, "od": 2.5, "os": "b", "at": "2026-01-31T12:00:00"}
    bodies = [
        *_forms(row, {**row, "at": "1999-12-31"}),
        *(form(without(row, name)) for name in row for form in (split, records)),
        *(form({**row, name: None}) for name in row for form in (split, records)),
    ]
    agree(pairs["optional"], [post(body) for body in bodies])


@pytest.mark.skipif(not ALL, reason="make environments")
@pytest.mark.parametrize("model", ["tensor", "plain"])
def test_tensors_and_models_without_a_signature(pairs: dict[str, Pair], model: str) -> None:
    bodies = [
        {form: value}
        for form in ("instances", "inputs")
        for value in ([[1.0, 2.0]], [[1, 2], [3, 4]], [["a", "b"]], [], 1, {"a": [1, 2]}, None)
    ]
    agree(pairs[model], [post(body) for body in bodies])


def test_version_is_that_of_the_environment(
    environment: Environment, pairs: dict[str, Pair]
) -> None:
    for told in pairs["columns"].ask("GET", "/version"):
        assert told == (200, "application/json", environment.mlflow_version.encode())
