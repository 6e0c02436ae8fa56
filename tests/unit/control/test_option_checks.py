"""Options that cannot work are refused before a deployment has them."""

from dataclasses import replace
from typing import Any

import pytest

from model_deployment.control.option_checks import OptionChecks
from model_deployment.core.errors import CannotStart, InvalidRequest
from model_deployment.core.options import Options, StartMethod

PLAIN = Options()
CONTAINED = Options(start_method=StartMethod.CONTAINER)


async def check(
    before: Options,
    after: Options,
    *,
    starts: bool = True,
    obstacle: str = "",
    defaults: Options = PLAIN,
) -> None:
    async def found(options: Options) -> str:
        return obstacle if options.contained else ""

    await OptionChecks(found).check("deploy wine-3", before, after, defaults, starts=starts)


@pytest.mark.parametrize("limit", [{"memory_limit": 2**30}, {"cpu_limit": 0.5}])
async def test_limits_need_a_container(limit: dict[str, Any]) -> None:
    (name,) = limit
    with pytest.raises(InvalidRequest) as refused:
        await check(PLAIN, replace(PLAIN, **limit))
    assert refused.value.detail == (
        f"cannot deploy wine-3 with {name}: only containers have limits, and start_method is auto; name "
        f"start_method=container too, or leave {name} out"
    )
    await check(PLAIN, replace(CONTAINED, **limit))


@pytest.mark.parametrize("limit", [{"memory_limit": 2**30}, {"cpu_limit": 0.5}])
async def test_limits_that_were_there_before_are_kept(limit: dict[str, Any]) -> None:
    had = replace(CONTAINED, **limit)
    await check(had, replace(had, start_method=StartMethod.AUTO))
    await check(replace(PLAIN, **limit), PLAIN)  # the default is never refused
    await check(PLAIN, replace(PLAIN, **limit), defaults=replace(PLAIN, **limit))


async def test_container_needs_an_engine() -> None:
    why = "the container engine at unix:///var/run/docker.sock does not answer; start it"
    with pytest.raises(CannotStart) as refused:
        await check(PLAIN, CONTAINED, obstacle=why)
    assert refused.value.detail == (
        f"cannot deploy wine-3 with start_method=container: {why}. Or choose start_method=auto"
    )
    assert refused.value.status == 503
    await check(PLAIN, CONTAINED)
    await check(CONTAINED, PLAIN, obstacle=why)


async def test_change_that_starts_nothing_needs_no_engine() -> None:
    await check(CONTAINED, replace(CONTAINED, idle_timeout=60.0), starts=False, obstacle="away")
