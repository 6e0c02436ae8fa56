"""Writes the generated parts of the documents, or checks that they are up to date (--check).

Tables kept by hand rot. These come from the code and stand between markers (``<!-- name -->``), in pages
whose prose is written by hand: the calls (from OpenAPI), settings, commands, problems and metrics in
docs/reference/, the glossary (from STYLE.md), the state machine and the rooms in docs/design.md, the names
in docs/verdicts.md. So do the table of paths in
nginx/routes.conf, and code of the client (``client_code``).
"""

import ast
import inspect
import json
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import typer
from fastapi import APIRouter

from model_deployment.api.policies import POLICIES, SOCKET
from model_deployment.app import web
from model_deployment.cli.main import app as command_line
from model_deployment.core import errors
from model_deployment.core import names as model_names
from model_deployment.core.deployment_lifecycle import diagram
from model_deployment.core.launch_lifecycle import diagram as launch_diagram
from model_deployment.core.release_lifecycle import diagram as release_diagram
from model_deployment.core.replacement import diagram as replacement_diagram
from model_deployment.core.rollouts import diagram as rollout_diagram
from model_deployment.degradation.wording import verdict_words
from model_deployment.flow_project.table import settings_tables
from model_deployment.settings import Settings, settings_table
from model_deployment.telemetry.prometheus import families
from scripts import client_code, client_reference

ROOT = Path(__file__).parents[1]

#: What any call may be answered with; said once at the top of the page.
COMMON = ("400", "401", "403", "413", "415", "421", "500")


def fill(text: str, name: str, content: str) -> str:
    """Replace what stands between ``<!-- name -->`` and ``<!-- /name -->``."""
    start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    if start not in text or end not in text:
        raise SystemExit(f"cannot find the markers of {name}")
    before, _, rest = text.partition(start)
    return before + start + content + "\n" + end + rest.partition(end)[2]


def table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = list(headings)
    lines = [heads, ["---"] * len(heads), *(list(row) for row in rows)]
    return "\n".join(
        "| " + " | ".join(cell.replace("\n", " ").replace("|", "\\|") for cell in line) + " |"
        for line in lines
    )


# HTTP -------------------------------------------------------------------------------------------


def description_of_the_api() -> dict[str, Any]:
    # The routes are described and never called, so whatever they work with may be a stand-in.
    parts: dict[str, Any] = {
        name: MagicMock() for name in inspect.signature(web.build_api).parameters
    }
    policy = Settings.model_construct().policy
    parts["undeploy_wait"] = policy.drain_timeout + policy.stop_grace + 5
    parts["dashboard"].router.return_value = APIRouter()  # pages for people are not described
    return web.build_api(**parts).openapi()


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


def anchor(heading: str) -> str:
    """What GitHub calls a heading in links."""
    kept = "".join(letter for letter in heading.lower() if letter.isalnum() or letter in "-_ ")
    return kept.replace(" ", "-")


# The other pages of the reference ---------------------------------------------------------------


def command_line_sections() -> str:
    return "\n\n".join(_commands(typer.main.get_command(command_line), "model-deployment"))


def _commands(command: Any, name: str) -> Iterator[str]:
    children = getattr(command, "commands", {})
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option"]
    names = [one.metavar or one.name.upper() for one in arguments]
    tail = ["COMMAND ..."] if children else [*names, *(["[OPTIONS]"] if options else [])]
    yield f"## {name}"
    yield inspect.cleandoc(command.help or "").strip()
    yield "```text\n" + " ".join([name, *tail]) + "\n```"
    rows = [
        (f"`{metavar}`", "", one.help or "") for metavar, one in zip(names, arguments, strict=True)
    ]
    for one in options:
        value = "" if one.is_flag else f" {one.metavar or 'VALUE'}"
        spelled = ", ".join(f"`{text}{value}`" for text in (*one.opts, *one.secondary_opts))
        default = "" if one.is_flag or one.default in (None, "") else f"`{one.default}`"
        rows.append((spelled, default, one.help or ""))
    if rows:
        yield table(("argument or option", "default", "meaning"), rows)
    for child in children.values():
        yield from _commands(child, f"{name} {child.name}")


def problems() -> str:
    kinds = list(_below(errors.ModelDeploymentError))
    # One line for each title; the class that has it first says what it means.
    root = errors.ModelDeploymentError
    found = {(root.status, root.title): "An error of the controller; its traceback is in the log."}
    for kind in kinds:
        meaning = inspect.cleandoc(kind.__doc__ or "").partition("\n")[0].replace("``", "`")
        found.setdefault((kind.status, kind.title), meaning)
    rows = (
        (str(status), title, f"`{errors.problem_type(title).rpartition(':')[2]}`", text)
        for (status, title), text in sorted(found.items())
    )
    return table(("status", "title", "type", "meaning"), rows)


def _below(kind: type[errors.ModelDeploymentError]) -> Iterator[type[errors.ModelDeploymentError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _below(child)


def metrics() -> str:
    # The families are the same whatever is looked at: a stand-in has no deployment.
    rows = (
        (f"`{_exposed(family)}`", family.type, _labels(family), family.documentation)
        for family in families(MagicMock())
    )
    return table(("metric", "type", "labels", "meaning"), rows)


def _exposed(family: Any) -> str:
    suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
    return str(family.name) + suffix


def _labels(family: Any) -> str:
    if family.type == "info":
        return "`version`, `mlflow_version`, `python_version`"
    return ", ".join(f"`{name}`" for name in family._labelnames)


def glossary() -> str:
    style = (ROOT / "STYLE.md").read_text(encoding="utf-8")
    lines = style.partition("\n## Words\n")[2].strip().splitlines()[2:]
    words = [line.strip("|").split("|")[:2] for line in lines if line.startswith("|")]
    rows = sorted(
        ([cell.strip() for cell in cells] for cells in words), key=lambda row: row[0].lower()
    )
    return table(("word", "meaning"), rows)


# The map of the rooms ----------------------------------------------------------------------------


def rooms() -> str:
    """One line for each package, from the top layer to the lowest."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = next(one["layers"] for one in contracts if one["type"] == "layers")
    rows = [
        (str(number), f"`{name}`", _purpose(name))
        for number, layer in enumerate(layers, 1)
        for name in layer.replace(":", "|").replace(" ", "").split("|")
    ]
    return table(("layer", "room", "what it is for"), rows)


def _purpose(name: str) -> str:
    folder = ROOT / "model_deployment" / name
    source = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return paragraph.replace("``", "`").replace(":mod:", "")


def _prediction_names() -> str:
    """Matches what predictions are sent to: ``<model>-<version>``, ``<model>@<alias>``, ``<model>``."""
    reserved = _reserved()
    version = model_names.VERSION.pattern
    # nginx matches bytes; an alias may have letters of any script.
    alias = r"[\w\x80-\xFF-]{1,512}"
    model = model_names.NAME.pattern
    return rf"(?:{model}-{version}|(?!(?i:{reserved})(?:[/@]|\z)){model}(?:@{alias})?)"


def _reserved() -> str:
    return "|".join(map(re.escape, sorted(model_names.RESERVED_NAMES)))


def _place(template: str) -> int:
    return 2 if template.startswith("/{project}") else template.startswith("/{name}")


def gateway_routes(text: str) -> str:
    """The gateway's routes.conf with its table of paths made from the controller's table of policies."""
    lines = ['    default "";']
    # The first pattern that matches counts: names of models come behind our own, those of projects last.
    ordered = sorted(POLICIES.items(), key=lambda one: _place(one[0][1]))
    handlers: dict[str, list[str]] = {}
    reserved = ""
    for (method, template), policy in ordered:
        # A handshake is a GET.
        sent = "GET" if method == SOCKET else method
        handlers.setdefault(template, []).append(f"{sent} {policy.handler}")
    for template, found in handlers.items():
        # Reading comes before changing, as in the header Allow.
        allowed = " ".join(sorted(found, key=lambda one: not one.startswith("GET ")))
        # Only a prediction's first segment needs the exact form: other paths begin with a fixed one, or are
        # of a project.
        exact = {"name": _prediction_names()} if template.startswith("/{name}") else {}
        parts = re.split(r"\{(\w+(?::\w+)?)\}", template)
        parts[::2] = map(re.escape, parts[::2])
        parts[1::2] = [
            exact.get(name, ".+" if name.endswith(":path") else "[^/]+") for name in parts[1::2]
        ]
        key = '"~^' + "".join(parts) + r'\z"'
        if not reserved and template.startswith("/{project}"):
            reserved = f'"~^/(?i:{_reserved()})/"'
            lines.append(f'    {reserved:<51} "";')
        lines.append(f'    {key:<51} "{allowed}";')
    before, opening, rest = text.partition("map $uri $route {\n")
    return before + opening + "\n".join(lines) + "\n" + rest[rest.index("}\n") :]


# All of them -------------------------------------------------------------------------------------


def parts() -> dict[Path, dict[str, str]]:
    """What stands between which markers of each document."""
    docs = ROOT / "docs"
    reference = docs / "reference"
    return {
        docs / "design.md": {
            "states": f"```mermaid\n{diagram()}\n```",
            "launch states": f"```mermaid\n{launch_diagram()}\n```",
            "replacement states": f"```mermaid\n{replacement_diagram()}\n```",
            "rollout states": f"```mermaid\n{rollout_diagram()}\n```",
            "release states": f"```mermaid\n{release_diagram()}\n```",
            "rooms": rooms(),
        },
        docs / "verdicts.md": {"names": verdict_words.table()},
        reference / "http.md": {"calls": http_calls(description_of_the_api())},
        reference / "settings.md": {"settings": settings_table()},
        reference / "flow-settings.md": {"flow settings": settings_tables()},
        reference / "command-line.md": {"commands": command_line_sections()},
        reference / "problems.md": {"problems": problems()},
        reference / "metrics.md": {"metrics": metrics()},
        reference / "glossary.md": {"words": glossary()},
        reference / "python-client.md": {"python calls": client_reference.calls()},
    }


def generated() -> dict[Path, str]:
    """Each document as it should be."""
    found = {}
    for path, contents in parts().items():
        text = path.read_text(encoding="utf-8")
        for name, content in contents.items():
            text = fill(text, name, content)
        found[path] = text
    routes = ROOT / "nginx" / "routes.conf"
    found[routes] = gateway_routes(routes.read_text(encoding="utf-8"))
    found[client_code.ANSWERS] = client_code.answer_types(description_of_the_api())
    return found | client_code.blocking_modules()


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def main() -> None:
    check = "--check" in sys.argv[1:]
    found = generated().items()
    stale = [(path, text) for path, text in found if _read(path) != text]
    for path, text in stale:
        if not check:
            path.write_text(text, encoding="utf-8")
        print(f"{'out of date, run make docs:' if check else 'wrote'} {path.relative_to(ROOT)}")
    if check and stale:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
