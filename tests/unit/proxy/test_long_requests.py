"""Which requests take turns while they are read: those whose rest others should not wait for."""

from typing import cast

import pytest

from model_deployment.proxy.caller_request import CallerRequest, is_long
from model_deployment.proxy.offload import LARGE


class Headers:
    def __init__(self, named: dict[bytes, bytes]) -> None:
        self.named = named


@pytest.mark.parametrize(
    ("named", "long"),
    [
        ({b"content-length": b"62000"}, False),
        ({b"content-length": b"%d" % LARGE}, False),
        ({b"content-length": b"%d" % (LARGE + 1)}, True),
        ({b"transfer-encoding": b"chunked"}, True),
    ],
)
def test_what_is_declared_tells(named: dict[bytes, bytes], long: bool) -> None:
    assert is_long(cast(CallerRequest, Headers(named))) is long


def test_what_has_come_whole_is_not_long() -> None:
    assert not is_long(None)
