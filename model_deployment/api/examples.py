"""Examples of bodies, as the API's description and its documents show them."""

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict


def example(value: Any) -> ConfigDict:
    """The configuration of a Pydantic model that has one example."""
    return ConfigDict(json_schema_extra={"examples": [value]})


def restore_nulls(description: Mapping[str, Any]) -> None:
    """Put back the nulls of examples, which FastAPI leaves out of a description."""
    schemas = description["components"]["schemas"]
    for schema in schemas.values():
        for value in schema.get("examples", ()):
            _restore(value, schema, schemas)


def _restore(value: Any, schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> None:
    schema = schemas.get(schema.get("$ref", "").rpartition("/")[2], schema)
    if isinstance(value, list):
        for one in value:
            _restore(one, schema.get("items", {}), schemas)
    elif isinstance(value, dict):
        for name in schema.get("required", ()):
            value.setdefault(name, None)
        members = schema.get("properties", {})
        for name, member in value.items():
            kinds = members.get(name, schema.get("additionalProperties"))
            if isinstance(kinds, dict):  # not: any member
                for kind in kinds.get("anyOf", [kinds]):
                    _restore(member, kind, schemas)
