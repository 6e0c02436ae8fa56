"""How many made-up examples tests try: HYPOTHESIS_PROFILE is ``quick``, ``ci`` or ``nightly``.

And what all tests have in common: errors that they bring about can be read.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from model_deployment.core.errors import ModelDeploymentError

EXAMPLES = 200
#: Folders whose tests run the product in processes of its own, which coverage does not see.
_ELSEWHERE = (
    "e2e",
    "integration/backup",
    "integration/control",
    "integration/dashboard",
    "integration/gateway",
    "integration/state",
    "integration/telemetry",
)
#: What no text for people has in it: addresses and classes of Python, a variable without its name.
_ODD = re.compile(r" at 0x[0-9a-f]{6}|<class |Max retries|: None$|MODEL_DEPLOYMENT(?!_[A-Z])")

# The same examples in every run, so that a red build is red for its change; other ones each night.
settings.register_profile(
    "ci",
    derandomize=True,
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("quick", settings.get_profile("ci"), max_examples=EXAMPLES // 8)
settings.register_profile(
    "nightly", settings.get_profile("ci"), derandomize=False, max_examples=20 * EXAMPLES
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Measure coverage where it tells something: Python that is traced takes half as long again.

    Slow tests repeat, in another order and often, what quicker ones run once.
    """
    for item in items:
        folder = item.path.parent.relative_to(Path(__file__).parent).as_posix()
        if folder in _ELSEWHERE or item.get_closest_marker("slow"):
            item.add_marker("no_cover")


@pytest.fixture(autouse=True)
def texts_are_whole(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each error that a test brings about is a whole sentence: nothing lost, nothing of Python in it."""
    made: list[str] = []
    whole = ModelDeploymentError.__init__

    def note(self: ModelDeploymentError, detail: str, **more: Any) -> None:
        made.append(detail)
        whole(self, detail, **more)

    monkeypatch.setattr(ModelDeploymentError, "__init__", note)
    yield
    odd = [text for text in made if _ODD.search(text)]
    assert not odd, f"texts with slips: {odd}"
