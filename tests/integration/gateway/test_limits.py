"""What a caller may take up: time, bytes, connections."""

import asyncio
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.gateway.conftest import Gateways
from tests.support.echo_server import Echo
from tests.support.nginx_gateway import AS, Gateway
from tests.support.raw_requests import head, send, statuses
from tests.support.stubs import Answer
from tests.support.tools import PROBLEM
from tests.support.waiting import until_sync

LARGEST = 10 * 2**20


def check(answer: Answer, status: int) -> None:
    assert answer.status == status
    assert dict(answer.headers)["Content-Type"] == PROBLEM
    assert json.loads(answer.body)["status"] == status


async def test_who_is_slow_is_cut_off(gateway: Gateway, echo: Echo) -> None:
    whole = head("POST", "/m-1", "caller", "Content-Length: 9\r\n")
    slow = (b"", whole[:15], whole[:-2], whole, whole + b"12345678")

    async def one(begun: bytes) -> tuple[list[int], float]:
        began = time.monotonic()
        return statuses(await send(gateway, begun)), time.monotonic() - began

    for got, took in await asyncio.gather(*(one(begun) for begun in slow)):
        assert 1.5 < took < 10
        assert got in ([], [408])
    assert echo.seen == []


def test_the_largest_body(gateway: Gateway, echo: Echo) -> None:
    assert gateway.ask("POST", "/m-1", AS["caller"], b"x" * LARGEST).status == 200
    assert [len(seen.body) for seen in echo.seen] == [LARGEST]


def test_an_upload_is_passed_on_as_it_comes_whatever_its_size(gateway: Gateway, echo: Echo) -> None:
    path = "/upload_data?experiment=income"
    assert gateway.ask("POST", path, AS["operator"], b"x" * (LARGEST + 1)).status == 200
    assert [len(seen.body) for seen in echo.seen] == [LARGEST + 1]
    assert gateway.ask("POST", path, AS["caller"], b"x").status == 403
    assert gateway.ask("GET", "/datasets", AS["caller"]).status == 200
    assert gateway.ask("POST", "/upload_data/", AS["operator"], b"x").status == 404


async def test_a_body_that_says_it_is_too_large(gateway: Gateway, echo: Echo) -> None:
    more = f"Content-Length: {LARGEST + 1}\r\nExpect: 100-continue\r\n"
    answer = await send(gateway, head("POST", "/m-1", "caller", more))
    assert statuses(answer) == [413]
    assert PROBLEM.encode() in answer
    assert echo.seen == []


async def test_a_body_that_turns_out_too_large(gateway: Gateway, echo: Echo) -> None:
    chunk = b"100000\r\n" + b"x" * 2**20 + b"\r\n"
    whole = head("POST", "/m-1", "caller", "Transfer-Encoding: chunked\r\n")
    answer = await send(gateway, whole, *[chunk] * 10, b"1\r\nx\r\n0\r\n\r\n")
    assert statuses(answer) == [413]
    assert echo.seen == []


async def test_who_is_not_asked_for_a_password_sends_no_body(gateway: Gateway, echo: Echo) -> None:
    for more in ("Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n"):
        assert statuses(await send(gateway, head("GET", "/health", None, more))) == [413]
    assert echo.seen == []
    more = "Content-Length: 0\r\n"
    assert statuses(await send(gateway, head("GET", "/health", None, more))) == [200]


async def test_who_signs_sends_a_small_body(gateway: Gateway, echo: Echo) -> None:
    call, chunked = "/mlflow/webhook", "Transfer-Encoding: chunked\r\n"
    whole = head("POST", call, None, "Content-Length: 65536\r\n")
    assert statuses(await send(gateway, whole, b"x" * 65536)) == [200]
    assert [len(seen.body) for seen in echo.seen] == [65536]
    large = head("POST", call, None, "Content-Length: 100000\r\nExpect: 100-continue\r\n")
    assert statuses(await send(gateway, large)) == [413]
    chunk = b"10000\r\n" + b"x" * 2**16 + b"\r\n"
    endless = await send(gateway, head("POST", call, None, chunked), *[chunk] * 3, b"0\r\n\r\n")
    assert statuses(endless) == [413]
    assert len(echo.seen) == 1


def test_a_body_of_many_chunks(gateway: Gateway, echo: Echo) -> None:
    def pieces() -> Iterator[bytes]:
        yield from [b"ab"] * 5000

    assert gateway.ask("POST", "/m-1", AS["caller"], pieces()).status == 200
    assert [len(seen.body) for seen in echo.seen] == [10_000]


@pytest.mark.parametrize("size", [8 * 1024, 33 * 1024])
def test_headers_that_are_too_large(gateway: Gateway, echo: Echo, size: int) -> None:
    check(gateway.ask("GET", "/version", {**AS["caller"], "X-A": "v" * size}), 431)
    assert echo.seen == []


def test_headers_that_are_too_many(gateway: Gateway, echo: Echo) -> None:
    many = {f"X-{number}": "v" * 500 for number in range(99)}
    check(gateway.ask("GET", "/version", {**AS["caller"], **many}), 431)
    assert echo.seen == []


def test_connections_of_one_address(gateways: Gateways, echo: Echo) -> None:
    gateway = gateways(CONNECTIONS_PER_ADDRESS="3")

    def hold(_: int) -> int:
        return gateway.ask("POST", "/m-1", {**AS["caller"], "X-Do": "hold"}).status

    with ThreadPoolExecutor(3) as pool:
        held = [pool.submit(hold, number) for number in range(3)]
        until_sync(lambda: len(echo.seen) == 3, what="three requests on their way")
        one_more = gateway.ask("GET", "/version", AS["caller"])
        check(one_more, 429)
        assert dict(one_more.headers)["Retry-After"] == "1"
        echo.release()
        assert [one.result() for one in held] == [200] * 3
    until_sync(lambda: gateway.ask("GET", "/version", AS["caller"]).status == 200)


def test_tokens_without_a_name(gateways: Gateways) -> None:
    gateway = gateways()

    def answered(token: str, times: int) -> set[int]:
        who = {"Authorization": f"Bearer {token}"}
        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(gateway.ask, "GET", "/v1/models", who) for _ in range(times)]
            return {one.result().status for one in asked}

    # As many as may come at once, and far more than may come in the time that they take.
    assert answered("caller:a password", 300) == {200}
    assert answered("a password", 1000) == {200, 429}
    assert answered("caller:a password", 9) == {200}
