"""The limits of a deployment hold for all proxies together."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx

from tests.support.harness import Controller, Controllers


def asked(controller: Controller, key: str, callers: int) -> Counter[int]:
    """The statuses of requests that come at the same time, each on a connection of its own."""

    def ask(client: httpx.Client) -> int:
        return client.post(f"/{key}", json={"instances": [1]}).status_code

    with ExitStack() as stack:
        # Made before, since that takes longer than a request.
        clients = [
            stack.enter_context(
                httpx.Client(base_url=controller.url, timeout=60, trust_env=False, verify=False)
            )
            for _ in range(callers)
        ]
        return Counter(stack.enter_context(ThreadPoolExecutor(callers)).map(ask, clients))


def test_as_many_requests_wait_as_may_whatever_the_number_of_proxies(
    controllers: Controllers,
) -> None:
    controller = controllers(PROXIES=3, MAX_CONNECTIONS=2, MAX_QUEUE=3).up()
    controller.deploy("slow-1")
    assert asked(controller, "slow-1", 24) == {200: 5, 429: 19}


def test_one_request_at_a_time_whatever_the_number_of_proxies(controllers: Controllers) -> None:
    controller = controllers(PROXIES=3, MAX_CONNECTIONS=1).up()
    controller.deploy("slow-1")
    assert asked(controller, "slow-1", 6) == {200: 6}
