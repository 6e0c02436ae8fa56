"""The stores of the compose profile ``storage``, which the tests of this folder share."""

from collections.abc import Iterator

import pytest

from tests.support.storage_profile import StorageProfile, storage_profile


@pytest.fixture(scope="package")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageProfile]:
    """Prepared; a test that kills the stores starts them again."""
    with storage_profile(tmp_path_factory.mktemp("profile")) as made:
        yield made
