"""docker/storage.py: the keys that it makes, what it passes on, and what it says when it cannot."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "docker/storage.py"


def storage(keys: Path, *arguments: str, profiles: str = "demo,storage") -> tuple[int, str]:
    """Exit status and output; nothing answers at the addresses of its stores."""
    done = subprocess.run(
        [sys.executable, "-I", SCRIPT, *arguments],
        env={
            "PATH": os.environ["PATH"],
            "PROFILES": profiles,
            "STORAGE_KEYS": str(keys),
            "STORAGE_PREFECT_KEY": str(keys),
            "STORAGE_PATIENCE": "0",
            "STORAGE_POSTGRESQL": "127.0.0.1:1",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def test_keys_are_made_once(tmp_path: Path) -> None:
    assert storage(tmp_path, "keys") == (0, "")
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert {*made} == {
        "postgres.password", "mlflow.password", "prefect.password", "s3.key", "s3.json",
    }  # fmt: skip
    assert len({*made.values()}) == len(made)
    assert all(path.stat().st_mode & 0o777 == 0o640 for path in tmp_path.iterdir())
    [identity] = json.loads(made["s3.json"])["identities"]
    assert {action.partition(":")[2] for action in identity["actions"]} == {"mlflow"}
    (tmp_path / "s3.json").unlink()  # killed before the last one
    assert storage(tmp_path, "keys") == (0, "")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == made


def test_a_profile_of_the_command_line_alone_is_refused(tmp_path: Path) -> None:
    status, said = storage(tmp_path, "keys", profiles="demo")
    assert status == 1
    assert "Write COMPOSE_PROFILES=storage into .env" in said
    assert not any(tmp_path.iterdir())


def test_without_the_profile_nothing_changes(tmp_path: Path) -> None:
    status, said = storage(tmp_path, "run", "mlflow", "env", profiles="monitoring")
    assert status == 0
    assert not re.search(r"^(MLFLOW|AWS|PREFECT)_", said, re.MULTILINE)


@pytest.mark.parametrize("name", ["mlflow", "prefect"])
def test_what_cannot_be_reached_is_said(tmp_path: Path, name: str) -> None:
    assert storage(tmp_path, "run", name, "env")[1].startswith(
        f"error: cannot reach the database {name} of PostgreSQL within 0 s: there is no {tmp_path}/"
    )
    storage(tmp_path, "keys")
    status, said = storage(tmp_path, "run", name, "env")
    assert status == 1
    assert "Connection refused" in said
    assert "docker compose up -d" in said
    assert (tmp_path / f"{name}.password").read_text() not in said


@pytest.mark.parametrize("arguments", [(), ("run",), ("run", "mlflow"), ("run", "other", "env")])
def test_other_commands_are_refused(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    status, said = storage(tmp_path, *arguments)
    assert (status, said.count("\n")) == (1, 1)
    assert said.startswith("error: cannot use ")
