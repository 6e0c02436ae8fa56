"""Which target of a deployment a request goes to."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack

import pytest
import pytest_asyncio

from model_deployment.core.domain import Address
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Validation
from model_deployment.proxy import standing
from model_deployment.proxy.service import Service, ServiceOptions, ServiceTarget
from model_deployment.proxy.shared_limits import unshared_usage
from model_deployment.proxy.upstream import Shares, Upstream, UpstreamCall, UpstreamLimits

MADE_FOR = ServiceOptions("a", Validation.STRICT, 0)


class Three:
    """A deployment with three launches: a, b, c."""

    def __init__(self) -> None:
        shares = Shares(unshared_usage(), UpstreamLimits())
        self.upstreams = [
            Upstream(ModelKey("m", 1), Address("127.0.0.1", 1), shares) for _ in range(3)
        ]
        for name, one in zip("abc", self.upstreams, strict=True):
            one.update_launch(name, ready=True)
        targets = tuple(ServiceTarget(one, None, MADE_FOR) for one in self.upstreams)
        self.service = Service(None, MADE_FOR, targets)

    def choice(self, *gone: str) -> str | None:
        found = self.service.choose_but(gone)
        return found.upstream.launch_id if found else None

    def choices(self, number: int) -> Counter[str | None]:
        return Counter(self.choice() for _ in range(number))


@pytest_asyncio.fixture
async def three() -> AsyncIterator[Three]:
    async with AsyncExitStack() as stack:
        made = Three()
        for one in made.upstreams:
            stack.push_async_callback(one.close)
        yield made


async def test_equal_targets_are_taken_in_turns(three: Three) -> None:
    assert three.choices(9) == {"a": 3, "b": 3, "c": 3}


async def test_the_target_with_the_least_in_flight_is_taken(three: Three) -> None:
    a, b, c = three.upstreams
    with UpstreamCall(a), UpstreamCall(a), UpstreamCall(b), UpstreamCall(c), UpstreamCall(c):
        assert three.choices(5) == {"b": 5}


async def test_calls_are_spread_evenly(three: Three) -> None:
    with ExitStack() as calls:
        for _ in range(30):
            calls.enter_context(UpstreamCall(three.service.choose().upstream))
        assert [one.callers for one in three.upstreams] == [10, 10, 10]


async def test_launches_that_are_gone_are_not_taken(three: Three) -> None:
    assert {three.choice("a") for _ in range(6)} == {"b", "c"}
    assert three.choice("a", "b") == "c"
    assert three.choice("a", "b", "c") is None
    lone = Service(None, MADE_FOR, three.service.targets[:1])
    assert lone.choose_but(("a",)) is None
    assert lone.choose().upstream.launch_id == "a"


async def test_a_broken_target_is_left_out(three: Three) -> None:
    three.upstreams[0].count_break()
    assert three.choices(6) == {"b": 3, "c": 3}


async def test_a_broken_target_is_tried_with_one_request_at_a_time(
    three: Three, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "FIRST_PAUSE", 0.0)
    broken = three.upstreams[0]
    broken.count_break()
    assert three.choices(3) == {"a": 3}
    with UpstreamCall(broken):
        assert three.choices(6) == {"b": 3, "c": 3}
    broken.count_answer(200)
    assert three.choices(6) == {"a": 2, "b": 2, "c": 2}


async def test_if_all_are_broken_none_is_left_out(three: Three) -> None:
    for one in three.upstreams:
        one.count_break()
    assert three.choices(6) == {"a": 2, "b": 2, "c": 2}


async def test_a_broken_target_is_taken_if_the_others_are_gone(three: Three) -> None:
    three.upstreams[2].count_break()
    assert three.choice("a", "b") == "c"
