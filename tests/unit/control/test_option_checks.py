"""Options that cannot work are refused before a deployment has them."""

from dataclasses import replace

import pytest

from model_deployment.control.option_checks import OptionChecks
from model_deployment.core.errors import CannotStart
from model_deployment.core.options import EnvManager, Options, StartMethod

PLAIN = Options()
CONTAINED = Options(start_method=StartMethod.CONTAINER)


async def check(after: Options, *, starts: bool = True, obstacle: str = "") -> None:
    async def found(options: Options) -> str:
        return "" if options == PLAIN else obstacle

    await OptionChecks(found).check("deploy wine-3", after, starts=starts)


async def test_container_needs_an_engine() -> None:
    why = "the container engine at unix:///var/run/docker.sock does not answer; start it"
    with pytest.raises(CannotStart) as refused:
        await check(CONTAINED, obstacle=why)
    assert refused.value.detail == (
        f"cannot deploy wine-3 with start_method=container: {why}. Or choose start_method=auto"
    )
    assert refused.value.status == 503
    await check(CONTAINED)
    await check(PLAIN, obstacle=why)


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        (Options(env_manager=EnvManager.UV), "env_manager=uv"),
        (Options(env_manager=EnvManager.CONDA), "env_manager=conda"),
        (Options(memory_limit=2**30), "memory_limit=1073741824"),
        (
            Options(env_manager=EnvManager.UV, memory_limit=2**30, cpu_limit=0.5),
            "env_manager=uv and memory_limit=1073741824 and cpu_limit=0.5",
        ),
    ],
)
async def test_refusal_names_the_options_that_need_something(options: Options, chosen: str) -> None:
    with pytest.raises(CannotStart) as refused:
        await check(options, obstacle="the machine has it not; install it")
    assert refused.value.detail == (
        f"cannot deploy wine-3 with {chosen}: the machine has it not; install it"
    )


async def test_change_that_starts_nothing_needs_no_engine() -> None:
    await check(replace(CONTAINED, idle_timeout=60.0), starts=False, obstacle="away")
