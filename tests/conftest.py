"""How many made-up examples tests try: HYPOTHESIS_PROFILE is ``quick``, ``ci`` or ``nightly``.

And what all tests have in common: errors that they bring about can be read.
"""

import gc
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from model_deployment.core.errors import ModelDeploymentError

EXAMPLES = 50
#: Folders whose tests run the product in processes of its own, which coverage does not see.
_ELSEWHERE = (
    "e2e",
    "e2e/real_models",
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
settings.register_profile("quick", settings.get_profile("ci"), max_examples=EXAMPLES // 2)
settings.register_profile(
    "nightly", settings.get_profile("ci"), derandomize=False, max_examples=80 * EXAMPLES
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
# Runs of flows would wait for the other tests: there is no idle processor meanwhile.
os.environ.setdefault("MODEL_DEPLOYMENT_FLOWS_PRIORITY", "normal")
# Threads of numpy and scikit-learn that find no idle processor spin until they do.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
# A shell starts what runs in its background with Ctrl-C ignored, and programs of tests would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure() -> None:
    """End the container engine of this process's tests, if one of them has started it."""
    if (engine := sys.modules.get("tests.support.engine")) is not None:
        engine.destroy_shared()


def pytest_collection() -> None:
    """Look for no garbage among ten thousand tests: they stay, and each such look takes a second."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Nor among them later; what little of it is garbage stays as well."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Measure coverage where it tells something: Python that is traced takes half as long again.

    Slow tests repeat, in another order and often, what quicker ones run once.
    """
    for item in items:
        folder = item.path.parent.relative_to(Path(__file__).parent).as_posix()
        if folder in _ELSEWHERE or item.get_closest_marker("slow"):
            item.add_marker("no_cover")
    # On a process of pytest-xdist.
    if workers := getattr(config, "workerinput", {}).get("workercount"):
        items[:] = _shared_out(items, workers)


def _shared_out(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """The tests in an order in which every worker begins with long ones, and ends with short ones.

    pytest-xdist gives each worker a stretch of the list, and a worker that is done takes from the end of
    another's. A module of long tests stays together, since they share what they have started; so do a
    package, and all tests of containers, whose engine and images take half a minute.
    """
    long: dict[Path | str, list[pytest.Item]] = {}
    short: list[pytest.Item] = []
    for item in items:
        if "unit" in item.path.parts and not item.get_closest_marker("slow"):
            short.append(item)
        else:
            package = item.getparent(pytest.Package)
            group = "engine" if _in_engine(item) else package.path if package else item.path
            long.setdefault(group, []).append(item)
    shares: list[list[pytest.Item]] = [[] for _ in range(workers)]
    # Those of containers and of e2e, at the front, are the longest.
    for place, path in enumerate(sorted(long, key=_place)):
        shares[place % workers] += long[path]
    size = -(-len(items) // workers)
    for share in shares:
        room = max(0, size - len(share))
        share.extend(short[:room])
        del short[:room]
    return [item for share in shares for item in share] + short


def _in_engine(item: pytest.Item) -> bool:
    """Whether a test is one of containers: by its fixture, or of a contract that they keep as well."""
    params = getattr(getattr(item, "callspec", None), "params", {})
    return "engine" in getattr(item, "fixturenames", ()) or params.get("bench") == "container"


def _place(path: Path | str) -> int:
    """How early tests of a module begin."""
    return 0 if isinstance(path, str) else 1 if "e2e" in path.parts else 2


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Have the next module choose its own registry: MLflow keeps one for a process and its programs."""
    yield
    if nextitem is not None and nextitem.path != item.path:
        for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            os.environ.pop(variable, None)
        if mlflow := sys.modules.get("mlflow"):
            mlflow.set_tracking_uri(None)
            mlflow.set_registry_uri(None)


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
