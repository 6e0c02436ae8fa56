"""The client has a method for each call of the API, and both halves have the same methods."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from model_deployment.client import AsyncClient, Client
from scripts.generators.api_description import description_of_the_api
from tests.support.scripted_server import Answer, scripted

#: Calls of other programs: MLflow's, Prometheus's, OpenAI's clients', and devices'.
OTHERS = {
    ("POST", "/mlflow/webhook"), ("GET", "/metrics"), ("POST", "/{name}/invocations"),
    ("GET", "/v1/models/{name}"), ("POST", "/projects/{project}/messages"),
}  # fmt: skip
#: Of parameters that have no default.
VALUES: dict[str, Any] = {
    "name": "m-1", "model": "m", "version": 1, "versions": [1, 2], "data": [1], "messages": [],
    "input": "x",
    "project": "p", "models": ["m"], "device": "d", "code": "c", "endpoint": "m@champion", "value": True,
    "place": "model/MLmodel",
    "alias": "champion", "order": "promote", "metrics": {"rmse": 1.0}, "labels": [],
    "text": "experiments: {}", "number": 1, "id": "r", "flow": "full_flow", "experiment": "income",
    "sha256": "a" * 64,
    "request_id": "r", "values": [1.0], "predictions": "r", "truth": [1], "report": "r",
}  # fmt: skip
#: Not one call of the API each.
HELPERS = {"close", "request", "data", "items", "open"}


def methods(kind: type) -> dict[str, Any]:
    found = inspect.getmembers(kind, inspect.isfunction)
    return {name: one for name, one in found if not name.startswith("_")}


def test_each_call_of_the_api_is_a_method(tmp_path: Path) -> None:
    made: set[tuple[str, str]] = set()
    (tmp_path / "x.csv").write_text("a\n1\n")
    with scripted(Answer(body=b'{"id": "r", "erased": 0}')) as server, Client(server.url) as client:
        for name in sorted(methods(Client).keys() - HELPERS):
            _call(getattr(client, name), tmp_path / "x.csv")
        made = {(method, path.partition("?")[0]) for method, path, _ in server.requests}
    wanted = {
        (method.upper(), path)
        for path, found in description_of_the_api()["paths"].items()
        for method in found
    } - OTHERS
    missing = {call for call in wanted if not any(_fits(call, one) for one in made)}
    assert not missing


def _call(method: Any, file: Path) -> None:
    parameters = inspect.signature(method).parameters.values()
    needed = [
        one
        for one in parameters
        if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD
    ]
    given = {one.name: {**VALUES, "file": file}[one.name] for one in needed}
    if "truth" in {one.name for one in parameters}:
        given["truth"] = [1]
    if method.__name__ == "stream":
        given["data"] = {"input": "x"}
    try:
        found = method(**given)
        if inspect.isgenerator(found):
            list(found)
    except (KeyError, TypeError, AttributeError):  # the answer is none that it expects
        pass


def _fits(call: tuple[str, str], made: tuple[str, str]) -> bool:
    # A path of a file has slashes.
    pattern = re.sub(r"\{\w+\}", "[^/]+", call[1].replace("{file}", ".+"))
    return call[0] == made[0] and re.fullmatch(pattern, made[1]) is not None


def test_both_clients_have_the_same_methods() -> None:
    blocking, asynchronous = methods(Client), methods(AsyncClient)
    assert blocking.keys() - {"close"} == asynchronous.keys() - {"aclose"}
    for name in blocking.keys() - {"close"}:
        assert inspect.signature(blocking[name]).parameters == (
            inspect.signature(asynchronous[name]).parameters
        ), name
        assert not inspect.iscoroutinefunction(blocking[name])


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_each_method_is_documented(kind: type) -> None:
    undocumented = [
        name for name, one in methods(kind).items() if not one.__doc__ and name not in HELPERS
    ]
    assert not undocumented
