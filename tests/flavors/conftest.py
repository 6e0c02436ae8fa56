"""The options of ``make flavours``."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--env-manager", default="local", choices=["local", "uv", "virtualenv"])
    parser.addoption("--folder", help="keep the registry there, and make no model that it has")
    parser.addoption("--write", action="store_true", help="write the table of docs/")
