"""A parent is another one for other code, modules or interpreters, and has its code in memory."""

import subprocess
import sys
from importlib import metadata

import pytest

from model_deployment.worker import program_files, protocol

#: Prints the modules of a model server that a parent has not imported when it forks.
MISSING = """
import sys
from model_deployment.worker import __main__ as program, preload, program_files
preload.preload(program._SERVING)
names = {name[:-3].replace("/", ".") for name in program_files.FILES if "__init__" not in name}
print(*sorted({f"model_deployment.{name}" for name in names} - sys.modules.keys()))
"""


def test_fork_finds_all_its_code_imported() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", MISSING], capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == []


def test_code_is_that_of_the_files_of_a_model_server() -> None:
    assert program_files.digest(program_files.read()) == protocol.CODE


def test_socket_is_another_one_for_other_modules_or_interpreters() -> None:
    names = [
        protocol.socket_name(("a", "b"), "x"),
        protocol.socket_name(("b", "a"), "x"),
        protocol.socket_name(("a",), "x"),
        protocol.socket_name(("a", "b"), "y"),
        protocol.socket_name((), protocol.own_interpreter()),
    ]
    assert len({*names}) == len(names)
    assert names[0] == protocol.socket_name(["a", "b"], "x")


def test_socket_is_another_one_for_other_code(monkeypatch: pytest.MonkeyPatch) -> None:
    before = protocol.socket_name((), "x")
    monkeypatch.setattr(protocol, "CODE", "another")
    assert protocol.socket_name((), "x") != before


def test_versions_are_found_while_a_library_with_a_finder_is_half_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class HalfImported:
        @staticmethod
        def find_distributions(context: object) -> object:
            raise NameError("name 'PathDistribution' is not defined")

    versions = [f"{name} {metadata.version(name)}" for name in ("model-deployment", "mlflow")]
    monkeypatch.setattr(sys, "meta_path", [HalfImported, *sys.meta_path])
    assert protocol.package() == ", ".join(versions)
