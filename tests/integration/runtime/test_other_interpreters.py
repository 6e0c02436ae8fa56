"""Parents in other interpreters, which run copies of our programs."""

import os
import signal
import sys
import venv
from pathlib import Path

import pytest

from model_deployment.environments.environment import Environment
from model_deployment.runtime import program_copies
from model_deployment.runtime.parent_client import ParentClient
from model_deployment.runtime.parent_connection import ParentUnfit
from model_deployment.runtime.parent_process import parent_of
from tests.integration.runtime.conftest import ForkBench, environment, parents
from tests.integration.runtime.test_forks import ping
from tests.support.waiting import until


async def test_interpreter_without_a_server_says_what_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "abc"
    venv.create(folder, with_pip=False, symlinks=True)
    built = Environment("abc", folder, "3.11.7", "")
    process = parent_of(
        built, tmp_path / "worker", tmp_path / "log", tmp_path / "programs", environment()
    )
    client = ParentClient(process, lost=lambda: None)
    try:
        with pytest.raises(
            ParentUnfit, match=r"cannot fork model servers: .* cannot be imported"
        ) as raised:
            await client.connect()
    finally:
        await client.close()
    assert "No module named" in str(raised.value)
    assert parents(tmp_path) == []


async def test_path_of_another_interpreter_has_the_copies_at_its_end(
    forks: ForkBench, tmp_path: Path
) -> None:
    """A module of an environment that is called as one of ours is the environment's."""
    forks.use(tmp_path / "prints.py", programs=tmp_path / "programs")
    (tmp_path / "prints.py").write_text(
        "import json, sys, model_deployment\n"
        "print(json.dumps([sys.path[1:], model_deployment.__file__]), flush=True)\n"
        "import time; time.sleep(60)"
    )
    handle = await forks.runtime.start(forks.spec())
    (copy,) = (tmp_path / "programs").iterdir()
    log = forks.logs / f"{handle.launch_id}.log"
    await until(lambda: "model_deployment" in log.read_text(), what="what it prints")
    assert f'"{copy}"], "{copy}/model_deployment/__init__.py"' in log.read_text()


async def test_copies_stay_as_long_as_a_fork_of_them_lives(
    forks: ForkBench, tmp_path: Path
) -> None:
    copies = tmp_path / "programs"
    forks.use(programs=copies)
    handle = await forks.serve()
    parent = await forks.parent()
    (folder,) = copies.iterdir()
    older = folder.rename(copies / "older")
    program_copies.install(copies)
    assert older.exists()
    os.kill(parent, signal.SIGKILL)
    await until(lambda: parent not in parents(tmp_path), what="the end of the parent")
    assert await ping(handle.address.port) == b"HTTP/1.1 200 OK"
    program_copies.install(copies)
    assert older.exists()
    os.kill(handle.ref["pid"], signal.SIGKILL)
    await forks.ended(handle)
    program_copies.install(copies)
    assert not older.exists()


async def test_parent_of_copies_is_that_of_this_interpreter_too(
    forks: ForkBench, tmp_path: Path
) -> None:
    """Code is told by what it says, not by where it lies."""
    first = await forks.parent()
    await forks.runtime.close()
    forks.use(programs=tmp_path / "programs", python=sys.executable)
    assert await forks.parent() == first
