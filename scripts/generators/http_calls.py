"""The calls and objects in docs/reference/http.md, from OpenAPI."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from scripts.generators.markdown import anchor, table

#: What any call may be answered with; said once at the top of the page.
COMMON = ("400", "401", "403", "413", "415", "421", "500")


def http_calls(api: dict[str, Any]) -> str:
    calls = [
        (path, method.upper(), call)
        for path, methods in api["paths"].items()
        for method, call in methods.items()
    ]
    areas = sorted({call["tags"][0] for *_, call in calls}, key=_area)
    # A prediction's paths come last in the code, since they could be taken for others.
    ordered = [found for area in areas for found in calls if found[2]["tags"][0] == area]
    overview = table(
        ("call", "what it does", "for"),
        (
            (f"[`{method} {path}`](#{anchor(f'{method} {path}')})", call["summary"], _role(call))
            for path, method, call in ordered
        ),
    )
    # Predictions last: they say the same in words of their own.
    always = sorted(_common(call for *_, call in reversed(ordered)).items())
    sections = [_area_section(area, ordered, api) for area in areas]
    intro = "Any call may also be answered with one of these:"
    common = table(("status", "when"), always)
    return "\n\n".join([overview, intro, common, *sections, "## Objects", *_objects(api)])


def _area(tag: str) -> int:
    order = (
        "predictions",
        "endpoints",
        "deployments",
        "devices",
        "registry",
        "monitoring",
        "system",
    )
    return order.index(tag) if tag in order else len(order)


def _area_section(
    area: str, calls: list[tuple[str, str, dict[str, Any]]], api: dict[str, Any]
) -> str:
    found = [
        _call(path, method, call, api) for path, method, call in calls if call["tags"][0] == area
    ]
    return "\n\n".join([f"## {area.capitalize()}", *found])


def _call(path: str, method: str, call: dict[str, Any], api: dict[str, Any]) -> str:
    parts = [f"### {method} {path}", f"{call['summary']}. For: {_role(call)}."]
    text = call.get("description", "").partition("For: ")[0].strip()
    if text:
        parts.append(text.replace("``", "`"))
    if call.get("parameters"):
        rows = (
            (
                f"`{one['name']}`",
                one["in"],
                _type(one["schema"]) + ("" if one.get("required") else ", optional"),
                _default(one["schema"]),
                one.get("description", ""),
            )
            for one in call["parameters"]
        )
        parts.append(table(("parameter", "in", "type", "default", "meaning"), rows))
    for kind, content in call.get("requestBody", {}).get("content", {}).items():
        parts.append(f"Body: `{kind}`, {_type(content.get('schema', {}))}.")
        example = _example(content, api)
        if example is not None:
            parts.append(f"```json\n{json.dumps(example)}\n```")
    answers = (
        (status, _kinds(answer), _when(answer["description"]))
        for status, answer in sorted(call["responses"].items())
        if status not in COMMON or "model" in answer["description"]
    )
    parts.append(table(("answer", "type", "when"), answers))
    return "\n\n".join(parts)


def _when(description: str) -> str:
    """In our words where FastAPI has its own."""
    ours = {
        "Successful Response": "Done",
        "Validation Error": "A parameter or the body cannot be used",
    }
    return ours.get(description, description)


def _role(call: dict[str, Any]) -> str:
    return (
        call.get("description", "").rpartition("For: ")[2].rstrip(".")
        if "security" in call
        else "everybody"
    )


def _common(calls: Iterable[dict[str, Any]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for call in calls:
        for status, answer in call["responses"].items():
            if status in COMMON:
                found.setdefault(status, answer["description"])
    return found


def _example(content: dict[str, Any], api: dict[str, Any]) -> Any:
    for example in content.get("examples", {}).values():
        return example["value"]
    schema = content.get("schema", {})
    for one in (schema, *schema.get("anyOf", ())):
        for example in _resolved(one, api).get("examples", ()):
            return example
    return None


def _resolved(schema: dict[str, Any], api: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    return dict(api["components"]["schemas"][name]) if name else schema


def _kinds(answer: dict[str, Any]) -> str:
    kinds = []
    for kind, content in answer.get("content", {}).items():
        schema = content.get("schema")
        name = kind.partition(";")[0]
        kinds.append(
            f"`{name}`" + (f", {_type(schema)}" if schema and "$ref" in str(schema) else "")
        )
    return "; ".join(kinds)


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"] if one.get("type") != "null")
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    limits = [
        f"{sign} {_number(schema[key])}"
        for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"))
        if key in schema
    ]
    return " ".join([str(schema.get("type", "any value")), *limits])


def _number(value: float) -> str:
    return f"{int(value):,}" if float(value).is_integer() else f"{value:g}"


def _default(schema: dict[str, Any]) -> str:
    return f"`{json.dumps(schema['default'])}`" if schema.get("default") is not None else ""


def _objects(api: dict[str, Any]) -> Iterator[str]:
    for name, schema in sorted(api["components"]["schemas"].items()):
        if name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own, which we never send
            continue
        yield f"### {name}"
        if schema.get("description"):
            yield schema["description"].replace("``", "`")
        if "enum" in schema:
            yield "One of " + ", ".join(f"`{value}`" for value in schema["enum"]) + "."
        if "properties" in schema:
            needed = schema.get("required", ())
            yield table(
                ("member", "type", "default", "meaning"),
                (
                    (
                        f"`{member}`",
                        _type(one) + ("" if member in needed else ", optional"),
                        _default(one),
                        one.get("description", ""),
                    )
                    for member, one in schema["properties"].items()
                ),
            )
