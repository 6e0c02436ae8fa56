"""The limits of a deployment hold for all proxies together."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.support.harness import Controller, Controllers


def ask(controller: Controller, key: str) -> int:
    """The status of a request on a connection of its own."""
    with httpx.Client(base_url=controller.url, timeout=60, trust_env=False) as client:
        return client.post(f"/{key}", json={"instances": [1]}).status_code


def test_as_many_requests_wait_as_may_whatever_the_number_of_proxies(
    controllers: Controllers,
) -> None:
    controller = controllers(PROXIES=3, MAX_CONNECTIONS=2, MAX_QUEUE=3).up()
    controller.deploy("slow-1")
    with ThreadPoolExecutor(24) as pool:
        seen = Counter(pool.map(lambda _: ask(controller, "slow-1"), range(24)))
    assert seen == {200: 5, 429: 19}


def test_one_request_at_a_time_whatever_the_number_of_proxies(controllers: Controllers) -> None:
    controller = controllers(PROXIES=3, MAX_CONNECTIONS=1).up()
    controller.deploy("slow-1")
    with ThreadPoolExecutor(6) as pool:
        assert Counter(pool.map(lambda _: ask(controller, "slow-1"), range(6))) == {200: 6}
