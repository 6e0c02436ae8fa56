"""The address of the container engine."""

import pytest
from pydantic import ValidationError

from model_deployment.settings import Settings


@pytest.mark.parametrize(
    "url",
    ["unix:///run/podman/podman.sock", "http://engine:2375", "http://10.0.0.1:2375/", "tcp://e:1"],
)
def test_engine_can_be_a_socket_or_a_proxy_of_one(url: str) -> None:
    assert Settings(container_engine=url).container_engine == url


@pytest.mark.parametrize(
    "url",
    ["", "unix://", "unix:///", "unix://docker.sock", "/var/run/docker.sock", "ssh://root@host", "http://",
     "http://user:pw@engine:1", "http://engine/v1", "tcp://engine", "http://engine:port"],
)  # fmt: skip
def test_other_addresses_of_an_engine_are_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="unix:///PATH"):
        Settings(container_engine=url)
