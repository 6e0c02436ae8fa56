"""Users with passwords, and a clock that a test sets."""

from pathlib import Path

import pytest

from model_deployment.core.users import Role
from model_deployment.credentials import htpasswd
from model_deployment.credentials.verify import Credentials
from tests.support.passwords import PASSWORD, Clock


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An operator and a caller."""
    htpasswd.set_user(tmp_path / "c", "olga", PASSWORD, Role.OPERATOR)
    htpasswd.set_user(tmp_path / "c", "carl", PASSWORD, Role.CALLER)
    return tmp_path / "c"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def credentials(folder: Path, clock: Clock) -> Credentials:
    made = Credentials(folder, clock=clock)
    made.open()
    return made
