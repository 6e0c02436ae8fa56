"""What belongs to the place where launches run is known to runtimes alone.

The rooms above may not say where a model listens, which process it is, or what the kernel shows of it:
the next runtime has other places. Each exception is named with what it is about instead.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[3] / "model_deployment"
#: Rooms in which a process of this machine is what they are about.
BELOW = ("runtime", "worker")

CONTROLLER, COMPANION, SHOWN = (
    "the controller's own address",
    "a proxy, the drain or the service of flows",
    "what Runtime.identity says, for people",
)
#: By file: what its mention of this machine is about.
ADDRESSES = {
    "api/endpoint_schemas.py": CONTROLLER,
    "api/launch_schemas.py": "an example",
    "api/report_schemas.py": CONTROLLER,
    "api/schemas.py": CONTROLLER,
    "app/components.py": CONTROLLER,
    "client/address.py": CONTROLLER,
    "client/mlflow_config.py": CONTROLLER,
    "credentials/access.py": CONTROLLER,
    "flows/service_file.py": COMPANION,
    "proxy/server.py": "the gateway",
    "proxy/tunnel.py": "the gateway",
    "settings/settings.py": CONTROLLER,
}
PIDS = {
    "api/environment_schemas.py": "shows the pid of a warm parent, as the runtime tells it",
    "environments/sessions.py": "ends the programs of builds, which are no launches",
    "api/launch_schemas.py": SHOWN,
    "api/schemas.py": SHOWN,
    "cli/launch_view.py": SHOWN,
    "client/answers.py": SHOWN,
    "dashboard/launch_rows.py": SHOWN,
    "data_plane/address.py": COMPANION,
    "data_plane/data_plane.py": COMPANION,
    "data_plane/embedded_proxy.py": COMPANION,
    "flows/service_file.py": COMPANION,
    "proxy/limits_file.py": COMPANION,
    "recording/supervisor.py": COMPANION,
}
REFS = {
    "api/openapi.py": "JSON schema",
    "core/domain.py": "the declaration",
    "state/rows.py": "it stores handles, and reads nothing in them",
}
CANDIDATE = re.compile(r"127\.0\.0\.1|0\.0\.0\.0|localhost|pid|/proc|\bref\b")
#: Of this process itself.
OWN_FILES = "/proc/self/fd"


def mentions(kind: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The lines of a module with one kind of knowledge, and their words; not in docstrings."""
    documented = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in documented:
                name, word = "", text
            case ast.Attribute(attr=name) | ast.Name(id=name) | ast.arg(arg=name):
                word = ""
            case _:
                continue
        found = {
            "address": "127.0.0.1" in word or word in ("localhost", "0.0.0.0"),
            "pid": "pid" in (name, word),
            "proc": "/proc" in word and OWN_FILES not in word,
            "ref": name == "ref",
        }
        if found[kind]:
            yield node.lineno, name or word


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE)
        if name.parts[0] in BELOW or "template" in name.parts:
            continue
        text = path.read_text()
        if CANDIDATE.search(text):  # most modules are not worth parsing
            yield str(name), ast.parse(text)


@pytest.fixture(scope="module")
def above() -> dict[str, ast.Module]:
    return dict(modules())


@pytest.mark.parametrize(
    ("kind", "allowed"),
    [
        ("address", ADDRESSES),
        ("pid", PIDS),
        ("proc", {"environments/sessions.py": "finds what builds of killed controllers left"}),
        ("ref", REFS),
    ],
)
def test_only_a_runtime_knows_where_its_launches_run(
    above: dict[str, ast.Module], kind: str, allowed: dict[str, str]
) -> None:
    found = {
        f"{name}:{line}: {words}"
        for name, tree in above.items()
        if name not in allowed
        for line, words in mentions(kind, tree)
    }
    assert not found, f"not the business of a room above the runtime: {sorted(found)}"


@pytest.mark.parametrize(
    ("kind", "allowed"), [("address", ADDRESSES), ("pid", PIDS), ("ref", REFS)]
)
def test_exceptions_are_needed(
    above: dict[str, ast.Module], kind: str, allowed: dict[str, str]
) -> None:
    idle = {name for name in allowed if name not in above or not [*mentions(kind, above[name])]}
    assert not idle, f"not needed any more: {sorted(idle)}"


def test_a_mention_is_found() -> None:
    """The rule itself."""
    text = '"""127.0.0.1"""\nHOST = "127.0.0.1"\nx = handle.ref["pid"]\nopen("/proc/1/stat")\n'
    tree = ast.parse(text)
    lines = {
        kind: [line for line, _ in mentions(kind, tree)] for kind in ("address", "pid", "proc")
    }
    assert lines == {"address": [2], "pid": [3], "proc": [4]}
    assert [line for line, _ in mentions("ref", tree)] == [3]
