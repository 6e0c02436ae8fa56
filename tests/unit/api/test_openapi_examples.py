"""Every call is described with types and examples that are true: each example fits its schema."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema_rs
import pytest

from scripts.docs import description_of_the_api

METHODS = ("get", "put", "post", "delete", "patch")
#: Files, which nobody reads in a description.
BINARY = {"application/vnd.apache.parquet", "application/octet-stream"}


@cache
def api() -> dict[str, Any]:
    return description_of_the_api()


def bodies() -> Iterator[tuple[str, dict[str, Any]]]:
    """All bodies of requests and of good answers, named by call, status and media type."""
    for path, methods in api()["paths"].items():
        for method, call in methods.items():
            for media, body in call.get("requestBody", {}).get("content", {}).items():
                yield f"{method} {path} {media}", body
            for status, answer in call["responses"].items():
                for media, body in answer.get("content", {}).items():
                    if status.startswith("2"):
                        yield f"{method} {path} {status} {media}", body


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    return api()["components"]["schemas"][name] if name else schema


def examples(body: dict[str, Any]) -> list[Any]:
    if "example" in body:
        return [body["example"]]
    if "examples" in body:
        return [one["value"] for one in body["examples"].values()]
    schema = resolved(body["schema"])
    if schema.get("type") == "array":
        return [resolved(schema["items"])["examples"]]
    options = [resolved(one) for one in schema.get("anyOf", [schema])]
    return [example for one in options for example in one.get("examples", [])]


@pytest.mark.parametrize(("name", "body"), [pytest.param(*one, id=one[0]) for one in bodies()])
def test_a_body_has_a_type_and_true_examples(name: str, body: dict[str, Any]) -> None:
    assert body["schema"], "it has no type"
    if name.rpartition(" ")[2] in BINARY:
        return
    found = examples(body)
    assert found, "it has no example"
    schema = {**body["schema"], "components": api()["components"]}
    for example in found:
        jsonschema_rs.validate(schema, example)


def test_a_call_is_named_once_and_by_its_function() -> None:
    names = [call["operationId"] for calls in api()["paths"].values() for call in calls.values()]
    assert len(names) == len(set(names))
    assert not [name for name in names if "__" in name]
