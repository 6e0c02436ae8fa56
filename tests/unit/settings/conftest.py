"""No test of settings sees the environment of whoever runs it."""

import os

import pytest


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that says nothing."""
    for name in [*os.environ]:
        monkeypatch.delenv(name)
    return monkeypatch
