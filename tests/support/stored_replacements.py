"""Changes of options in the state database, brought as far as a test needs them."""

from model_deployment.core.domain import Deployment, Launch, State
from model_deployment.core.merging import Merging
from model_deployment.core.options import Options
from model_deployment.core.replacement import Strategy
from tests.support.stored import NOW, Store

WORKERS = Options(workers=4)
PURPOSE = "change by ann"
MERGING = Merging(64, "rows are independent")


async def ask(
    store: Store,
    row: Deployment,
    options: Options = WORKERS,
    strategy: Strategy = Strategy.BESIDE,
) -> Deployment:
    """A change that has just been asked for."""
    return await store.replacements.ask(row, options, strategy, PURPOSE, NOW + 120)


def coming(row: Deployment) -> Launch:
    assert row.coming is not None
    return row.coming


async def begun(store: Store, row: Deployment | None = None) -> Deployment:
    """With a launch that has processes, beside those that serve."""
    row = await ask(store, row or await store.bring(State.READY))
    return await store.launch(row, launch=coming(row))


async def switch(store: Store, row: Deployment) -> Deployment:
    """The change in the place of what served before it."""
    return await store.replacements.switch(row, MERGING, 7, NOW + 1, NOW + 30)
