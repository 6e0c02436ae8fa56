"""What ``serve`` prints and does beside the controller: a failed deploy does not stop the others."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from model_deployment.app import server
from model_deployment.cli import demo
from model_deployment.cli.serve import run_controller
from model_deployment.core.errors import UnknownModel
from model_deployment.log import lines
from model_deployment.settings import Settings


class Broken:
    """A controller on which every deploy fails in a way of its own."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def deploy(self, key: Any, *_: Any, **__: Any) -> Any:
        self.asked.append(str(key))
        if key.version == 1:
            raise ZeroDivisionError("unforeseen")
        raise UnknownModel("cannot look up m-2: there is none")


def test_unexpected_error_of_one_deploy_is_logged_and_the_next_is_deployed(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    controller = Broken()

    async def serve_nothing(
        settings: Settings, started: Sequence[Callable[[Broken], Awaitable[None]]]
    ) -> None:
        for start in started:
            await start(controller)

    monkeypatch.setattr(server, "serve", serve_nothing)
    monkeypatch.setattr(lines, "configure", lambda *_: False)
    with caplog.at_level(logging.ERROR):
        run_controller(Settings(host="::1"), ["m-1", "m-2", "not a name"])
    assert controller.asked == ["m-1", "m-2"]
    (record,) = caplog.records
    assert record.getMessage() == "cannot deploy m-1"
    assert record.exc_info
    assert record.exc_info[0] is ZeroDivisionError
    told = capsys.readouterr()
    assert "http://[::1]:8000" in told.out
    assert "cannot look up m-2: there is none" in told.err
    assert "not a name" in told.err


def test_demo_tag_is_the_one_that_earlier_releases_have_set() -> None:
    assert demo.TAG == "model_deployment.demo"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("::1", "http://[::1]:8000"),
        ("fe80::7", "http://[fe80::7]:8000"),
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("here.example", "http://here.example:8000"),
    ],
)
def test_ipv6_address_is_put_in_brackets(host: str, url: str) -> None:
    settings = Settings(host=host)
    assert settings.own_url == settings.client_url == url
    elsewhere = Settings(host=host, url="http://elsewhere")
    assert (elsewhere.own_url, elsewhere.client_url) == (url, "http://elsewhere")
