"""A gateway with an echo behind it, shared by the tests of a worker; it is never changed."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.echo_server import Echo
from tests.support.nginx_gateway import Gateway, credentials

#: Makes a gateway in front of the echo, starts it, and ends it after the test.
Gateways = Callable[..., Gateway]


@pytest.fixture(scope="session")
def only_echo() -> Iterator[Echo]:
    it = Echo()
    it.start()
    yield it
    it.stop()


@pytest.fixture(scope="session")
def only_gateway(only_echo: Echo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    it = Gateway(
        folder,
        only_echo.address,
        credentials=credentials(folder / "credentials"),
        HEADER_TIMEOUT="2",
        BODY_TIMEOUT="2",
    )
    it.start()
    yield it
    assert it.stop() == 0
    assert "[alert]" not in it.errors()
    assert "[emerg]" not in it.errors()


@pytest.fixture
def echo(only_echo: Echo) -> Iterator[Echo]:
    only_echo.fresh()
    yield only_echo
    only_echo.release()


@pytest.fixture
def gateway(only_gateway: Gateway, echo: Echo) -> Gateway:
    return only_gateway


@pytest.fixture
def gateways(tmp_path: Path, echo: Echo) -> Iterator[Gateways]:
    made: list[Gateway] = []

    def make(**how: object) -> Gateway:
        folder = tmp_path / f"gateway-{len(made)}"
        folder.mkdir()
        arguments = {"controller": echo.address, **how}
        if "credentials" not in arguments:
            arguments["credentials"] = credentials(folder / "credentials")
        it = Gateway(folder, **arguments)  # type: ignore[arg-type]
        made.append(it)
        it.start()
        return it

    yield make
    for it in made:
        it.end()
