"""The parts of the client that follow from something else.

``client/answers.py`` has the types of bodies and answers, from OpenAPI. ``client/sync/`` is ``client/aio/``
without its ``await``: each method is written once.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "model_deployment" / "client"
ANSWERS = CLIENT / "answers.py"

#: Described by FastAPI, and never sent.
_UNUSED = {"HTTPValidationError", "ValidationError"}
_SIMPLE = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
_BLOCKING = (
    (r"AsyncGenerator\[(.+), None\]", r"Generator[\1, None, None]"),
    (r"async (def|with|for)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\basyncio\.sleep\b", "time.sleep"),
    (r"\bimport asyncio\n", ""),
    (r"\bclient\.aio\b", "client.sync"),
    (r"\b__a(enter|exit)__\b", r"__\1__"),
    (r"\ba(close|read|iter_lines|iter_bytes)\b", r"\1"),
    (r"\baclosing\b", "closing"),
    (r"\basynccontextmanager\b", "contextmanager"),
    (r"\bAsync(?=[A-Z])", ""),
)


def answer_types(api: dict[str, Any]) -> str:
    """The source of ``answers.py``: a type for each schema, by its name without ``Out``."""
    schemas = {
        name: schema
        for name, schema in sorted(api["components"]["schemas"].items())
        if name not in _UNUSED
    }
    words = [name for name, schema in schemas.items() if "enum" in schema]
    lines = [
        '"""Bodies and answers of the calls, as they stand in JSON; times are ISO 8601 text in UTC.',
        "",
        "``make docs`` writes this file from OpenAPI; docs/reference/http.md says what each member means.",
        '"""',
        "",
        "from __future__ import annotations",
        "",
        "from typing import Any, Literal, NotRequired, TypedDict",
    ]
    lines += ["", *(_alias(name, schemas[name]) for name in words)]
    for name, schema in schemas.items():
        if name not in words:
            lines += ["", "", *_typed_dict(name, schema)]
    return "\n".join(lines) + "\n"


def _alias(name: str, schema: dict[str, Any]) -> str:
    values = ", ".join(f'"{value}"' for value in schema["enum"])
    line = f"{_plain(name)} = Literal[{values}]"
    if len(line) <= 100:
        return line
    one_a_line = "".join(f'    "{value}",\n' for value in schema["enum"])
    return f"{_plain(name)} = Literal[\n{one_a_line}]"


def _typed_dict(name: str, schema: dict[str, Any]) -> list[str]:
    required = set(schema.get("required", []))
    described = schema.get("description", "").partition("\n")[0].replace("``", "`")
    lines = [f"class {_plain(name)}(TypedDict):"]
    if described:
        lines += [f'    """{described}"""', ""]
    for member, one in schema.get("properties", {}).items():
        kind = type_of(one)
        lines.append(f"    {member}: {kind if member in required else f'NotRequired[{kind}]'}")
    return lines


def type_of(schema: dict[str, Any]) -> str:
    """The type of a value, as Python writes it."""
    if "$ref" in schema:
        return _plain(schema["$ref"].rpartition("/")[2])
    if parts := schema.get("anyOf") or schema.get("oneOf"):
        return " | ".join(dict.fromkeys(type_of(one) for one in parts))
    if "const" in schema:
        return f'Literal["{schema["const"]}"]'
    if "enum" in schema:
        return "Literal[" + ", ".join(f'"{value}"' for value in schema["enum"]) + "]"
    match schema.get("type"):
        case "array":
            return f"list[{type_of(schema.get('items', {}))}]"
        case "object":
            values = schema.get("additionalProperties")
            return f"dict[str, {type_of(values) if isinstance(values, dict) else 'Any'}]"
        case str() as simple:
            return _SIMPLE[simple]
    return "Any"


def _plain(name: str) -> str:
    return name.removesuffix("Out")


def blocking(source: str) -> str:
    """The source of a module of ``aio`` for callers who wait."""
    for pattern, replacement in _BLOCKING:
        source = re.sub(pattern, replacement, source)
    tidy = (
        "check",
        "--quiet",
        "--fix",
        "--unsafe-fixes",
        "--ignore=ALL",
        "--select=I,UP028,SIM117",
    )
    for command in (tidy, ("format", "--quiet")):
        source = subprocess.run(
            [Path(sys.executable).with_name("ruff"), *command, "-"],
            input=source, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
        ).stdout  # fmt: skip
    return source


def blocking_modules() -> dict[Path, str]:
    return {
        CLIENT / "sync" / path.name: blocking(path.read_text(encoding="utf-8"))
        for path in sorted((CLIENT / "aio").glob("*.py"))
    }
