"""A registry for all tests of this folder that only add to it."""

import pytest

from model_deployment.core.names import ModelKey
from tests.support.registry_lab import RegistryLab, train


@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory) -> RegistryLab:
    return RegistryLab(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="package")
def trained(lab: RegistryLab) -> ModelKey:
    """A version of a real model with metrics and training data; scikit-learn takes seconds to import."""
    return train(lab)
