"""The controller that the tests of this folder share. Each deploys models that no other touches."""

from collections.abc import Iterator

import pytest

from tests.support.controller_program import Program


@pytest.fixture(scope="package")
def program(registry_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with Program(tmp_path_factory.mktemp("real_models"), registry_template) as running:
        yield running
