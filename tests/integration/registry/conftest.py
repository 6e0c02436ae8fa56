"""A registry for all tests of this folder that only add to it."""

import pytest

from tests.support.registry_lab import RegistryLab


@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory) -> RegistryLab:
    return RegistryLab(tmp_path_factory.mktemp("lab"))
