"""What runs in other interpreters: the list is complete, and old Pythons read it."""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_deployment.worker import program_files, timed_output
from tests.support.cases import each

#: Read by Python 3.8 as well: where our server does not run, MLflow's is started.
OLDER = (
    "__init__.py",
    "worker/__init__.py",
    "worker/contained.py",
    "worker/fitness.py",
    "worker/program_files.py",
    "worker/startup/sitecustomize.py",
    "worker/timed_output.py",
)
#: Prints the modules of ours that the program of a parent, and what it imports before a fork, import.
IMPORTS = """
import sys
from model_deployment.worker import __main__ as program, preload
done = preload.preload(program._SERVING)
assert not done.refused, done
print(*(name for name in sys.modules if name.partition(".")[0] == "model_deployment"))
"""
#: Keyword arguments, and names of modules, that are newer than Python 3.9.
NEWER_ARGUMENTS = {"dataclass": {"slots", "kw_only", "match_args"}, "zip": {"strict"}}
NEWER_NAMES = {
    "asyncio": {"timeout", "timeout_at", "Runner", "TaskGroup", "Barrier"},
    "contextlib": {"aclosing", "chdir"},
    "datetime": {"UTC"},
    "enum": {"StrEnum", "verify"},
    "itertools": {"pairwise", "batched"},
    "types": {"NoneType", "UnionType", "EllipsisType"},
    "typing": {"Self", "ParamSpec", "TypeAlias", "TypeGuard", "assert_never", "override", "Never"},
    "inspect": {"get_annotations"},
}


def source(name: str) -> str:
    return (program_files.PACKAGE / name).read_text()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The files in another place, and nothing else."""
    for name, content in program_files.read().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_list_has_what_a_model_server_imports_and_nothing_else(copy: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=False, cwd=copy
    )
    assert answer.returncode == 0, answer.stderr
    modules = [Path(*name.split(".")) for name in answer.stdout.split()]
    files = {name / "__init__.py" if (copy / name).is_dir() else name for name in modules}
    found = {str(file.with_suffix(".py").relative_to("model_deployment")) for file in files}
    assert found == set(program_files.FILES)


def test_same_files_have_the_same_digest_in_another_place(copy: Path) -> None:
    here = program_files.read()
    there = program_files.read(package=copy / "model_deployment")
    assert program_files.digest(here) == program_files.digest(there)


def test_another_name_or_content_changes_the_digest() -> None:
    files = program_files.read()
    name, content = files.popitem()
    found = {
        program_files.digest(files),
        program_files.digest({**files, name: content}),
        program_files.digest({**files, name: content + b"#"}),
        program_files.digest({**files, f"{name}x": content}),
    }
    assert len(found) == 4


@each(
    "name, version",
    [(name, (3, 9)) for name in program_files.FILES] + [(name, (3, 8)) for name in OLDER],
)
def test_files_have_the_grammar_of_old_pythons(name: str, version: tuple[int, int]) -> None:
    ast.parse(source(name), feature_version=version)


@each("name", program_files.FILES)
def test_files_use_nothing_that_is_newer_than_python_3_9(name: str) -> None:
    assert [*newer(ast.parse(source(name)))] == []


@pytest.mark.parametrize(
    "text",
    [
        "@dataclass(frozen=True, slots=True)\nclass A: ...",
        "zip(a, b, strict=True)",
        "asyncio.timeout(1)",
        "from typing import Any, Self",
        "isinstance(a, int | str)",
        "T = int | None",
        "def f(a: int | None): ...",
        "traceback.format_exception_only(error)",
    ],
)
def test_what_is_newer_is_noticed(text: str) -> None:
    assert [*newer(ast.parse(text))] != []


def newer(tree: ast.Module) -> Iterator[str]:
    """Where a module uses what Python 3.9 does not have, as far as this knows."""
    annotations = _annotations(tree)
    lazy = any(isinstance(one, ast.ImportFrom) and one.module == "__future__" for one in tree.body)
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=called), keywords=given):
                if found := NEWER_ARGUMENTS.get(called, set()) & {str(one.arg) for one in given}:
                    yield f"{called}({found})"
            case ast.Call(func=ast.Attribute(attr="format_exception_only"), args=[_]):
                yield "format_exception_only(exception)"
            case ast.Attribute(value=ast.Name(id=module), attr=name) if name in NEWER_NAMES.get(
                module, ()
            ):
                yield f"{module}.{name}"
            case ast.ImportFrom(module=str(module), names=names):
                known = NEWER_NAMES.get(module, set())
                if not _guarded(tree, node):
                    yield from (one.name for one in names if one.name in known)
            case ast.BinOp(op=ast.BitOr(), left=left, right=right):
                if (_is_type(left) or _is_type(right)) and not (lazy and node in annotations):
                    yield ast.unparse(node)


def _annotations(tree: ast.Module) -> set[ast.AST]:
    found: set[ast.AST] = set()
    for node in ast.walk(tree):
        for name in ("annotation", "returns"):
            if (one := getattr(node, name, None)) is not None:
                found |= {*ast.walk(one)}
    return found


def _guarded(tree: ast.Module, node: ast.AST) -> bool:
    """Whether an import is below a condition on the version of Python."""
    return any(
        isinstance(one, ast.If) and "version_info" in ast.unparse(one.test) and node in one.body
        for one in tree.body
    )


def _is_type(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return node.value is None
    return isinstance(node, ast.Name) and node.id in {
        "int",
        "str",
        "bytes",
        "float",
        "dict",
        "list",
    }


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10", "3.12", "3.13"])
def test_pythons_that_are_here_compile_the_files(version: str, tmp_path: Path) -> None:
    python = find_python(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    names = OLDER if version == "3.8" else program_files.FILES
    paths = [str(program_files.PACKAGE / name) for name in names]
    program = "import sys\nfor path in sys.argv[1:]: compile(open(path).read(), path, 'exec')"
    subprocess.run([python, "-c", program, *paths], check=True, cwd=tmp_path)


def find_python(version: str) -> str | None:
    """An interpreter of a version, such as ``3.9``."""
    folders = [*Path.home().glob(f".pyenv/versions/{version}.*/bin")]
    path = os.pathsep.join(map(str, [*folders, os.environ.get("PATH", os.defpath)]))
    return shutil.which(f"python{version}", path=path)


def test_output_with_times_is_there_for_other_interpreters() -> None:
    """``mlflow models serve`` of an environment loads it from beside ``startup``."""
    assert "worker/timed_output.py" in OLDER
    assert Path(timed_output.__file__) == program_files.PACKAGE / "worker" / "timed_output.py"
