"""What a controller of the tests is started with: nothing of ours that could change what it does."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: Quick to act, so that tests are, and patient where a busy machine could be slow.
DEFAULTS: dict[str, Any] = {
    "START_TIMEOUT": 20,
    "DRAIN_TIMEOUT": 10,
    "STOP_GRACE": 1,
    "PROBE_INTERVAL": 1,
    "PORT_QUARANTINE": 0.1,
    # The import of MLflow is part of the first call's time.
    "REGISTRY_TIMEOUT": 60,
    # Stubs start in no time, and more of them at once than there are cores.
    "START_CONCURRENCY": 8,
    # Quicker for a few stubs; what is particular to forks is tested with forks.
    "START_METHOD": "serve",
    # Stubs take little, and what other programs take meanwhile is none of the tests' business.
    "MEMORY_MARGIN": 0,
    # A process more takes half a second to start; what proxies do is tested with proxies.
    "PROXIES": os.environ.get("MODEL_DEPLOYMENT_TEST_PROXIES", "0"),
    # What is said at the start is looked for beside the log.
    "LOG_FORMAT": "text",
}
#: What a controller's environment may hold, and a model must never see.
CREDENTIALS = {"MONGO_PASSWORD": "canary", "AWS_SECRET_ACCESS_KEY": "canary"}


def program_environment(
    settings: Mapping[str, object], registry: str, further: Mapping[str, str]
) -> dict[str, str]:
    """The variables of a controller with these settings.

    Args:
        settings: named without their prefix.
        registry: its tracking URI; empty for the one that a controller makes itself.
        further: variables as they are named there.
    """
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {
        **inherited,
        **({"MLFLOW_TRACKING_URI": registry} if registry else {}),
        **CREDENTIALS,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        **further,
        **{f"MODEL_DEPLOYMENT_{name}": str(value) for name, value in settings.items()},
    }
