"""What is kept of an environment, to tell later whether it is whole."""

import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from model_deployment.core.options import EnvManager
from model_deployment.environments import inspection
from model_deployment.environments.build_log import BuildLog
from model_deployment.environments.needs import Needs
from model_deployment.environments.workshop import Workshop


class Asked(Workshop):
    """A build whose environment says where it is, and needs no Python."""

    def ask(self, command: Sequence[str]) -> str:
        return json.dumps(["3.11.7", sys.executable, os.__file__, "packages"])


def witnesses(folder: Path, files: Sequence[str]) -> tuple[str, ...]:
    """Those of an environment whose packages have these files."""
    for name in files:
        file = folder / "packages" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    with BuildLog(folder / "build.log") as log:
        work = Asked(
            draft=folder,
            environment={},
            log=log,
            tell=lambda text: None,
            end=time.monotonic() + 60,
            timeout=60,
            stop=threading.Event(),
        )
        needs = Needs(EnvManager.UV, "3.11")
        return inspection.describe(needs, folder, folder, (), False, work).witnesses


def test_each_package_has_witnesses_and_libraries_a_few(tmp_path: Path) -> None:
    libraries = [f"a.libs/{name}.so" for name in "abcdefgh"]
    packages = ["a/__init__.py", "a/more.py", "a/part/__init__.py", "shared/x/y.py"]
    found = witnesses(tmp_path, [*libraries, *packages, "b.libs/x.so"])
    assert {*found} == {*libraries[:5], *packages, "b.libs/x.so"} - {"a/more.py"}


def test_witnesses_are_bounded(tmp_path: Path) -> None:
    found = witnesses(tmp_path, [f"a/part{number}/__init__.py" for number in range(1005)])
    assert len(found) == 1000
