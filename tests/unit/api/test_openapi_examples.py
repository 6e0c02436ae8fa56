"""Every call is described with types and examples that are true: each example fits its schema."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema_rs

from scripts.generators.api_description import description_of_the_api

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


def slip(name: str, body: dict[str, Any]) -> str:
    """What is wrong with a body, if anything is."""
    if not body["schema"]:
        return "it has no type"
    if name.rpartition(" ")[2] in BINARY:
        return ""
    found = examples(body)
    schema = {**body["schema"], "components": api()["components"]}
    try:
        for example in found:
            jsonschema_rs.validate(schema, example)
    except jsonschema_rs.ValidationError as error:
        return str(error)
    return "" if found else "it has no example"


def test_a_body_has_a_type_and_true_examples() -> None:
    """One test of all: to describe the API takes seconds, which each process would spend to name tests."""
    found = dict(bodies())
    assert len(found) > 100
    slips = {name: why for name, body in found.items() if (why := slip(name, body))}
    assert not slips


def test_a_call_is_named_once_and_by_its_function() -> None:
    names = [call["operationId"] for calls in api()["paths"].values() for call in calls.values()]
    assert len(names) == len(set(names))
    assert not [name for name in names if "__" in name]
