"""All aliases of a model, with a real registry."""

import socket
import time
from pathlib import Path

import pytest

from model_deployment.core.errors import RegistryUnavailable, UnknownModel
from model_deployment.registry.client import Registry
from tests.support.registry_lab import RegistryLab

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's


async def test_aliases_are_those_of_the_moment(lab: RegistryLab) -> None:
    model, registry = lab.register(None).model, lab.registry()
    assert await registry.aliases(model) == {}
    lab.client.create_model_version(model, "/nowhere")
    lab.client.set_registered_model_alias(model, "champion", "1")
    lab.client.set_registered_model_alias(model, "next-1", "2")
    assert await registry.aliases(model) == {"champion": 1, "next-1": 2}
    lab.client.set_registered_model_alias(model, "champion", "2")
    lab.client.delete_registered_model_alias(model, "next-1")
    assert await registry.aliases(model) == {"champion": 2}
    lab.client.delete_model_version(model, "2")
    assert await registry.aliases(model) == {}


async def test_a_model_that_was_deleted_is_unknown(lab: RegistryLab) -> None:
    model, registry = lab.register(None).model, lab.registry()
    lab.client.set_registered_model_alias(model, "champion", "1")
    lab.client.delete_registered_model(model)
    with pytest.raises(UnknownModel, match=f"cannot look up the aliases of {model}"):
        await registry.aliases(model)
    lab.client.create_registered_model(model)
    assert await registry.aliases(model) == {}


async def test_a_registry_that_is_away_is_unavailable(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        silent = f"http://127.0.0.1:{listener.getsockname()[1]}"
        (tmp_path / "text.db").write_text("no database " * 100)
        for uri in (silent, "http://127.0.0.1:1", f"sqlite:///{tmp_path}/text.db"):
            registry = Registry(tracking_uri=uri, registry_uri=uri, timeout=0.5, download_timeout=1)
            begun = time.monotonic()
            for _ in range(3):  # more than there are threads: those that hang are in nobody's way
                with pytest.raises(RegistryUnavailable, match="cannot look up the aliases of iris"):
                    await registry.aliases("iris")
            assert time.monotonic() - begun < 5
