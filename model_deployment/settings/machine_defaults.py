"""Defaults of settings that follow from the machine."""

import sys

from model_deployment.runtime.memory import machine_memory
from model_deployment.runtime.processors import processors

#: As many columns as the table of shared limits has.
MOST_PROXIES = 32


def proxies() -> int:
    """How many there are if nobody says: they need Linux."""
    return min(MOST_PROXIES, max(1, processors() // 2)) if sys.platform == "linux" else 0


def start_concurrency() -> int:
    """How many model servers may start at once if nobody says."""
    return max(2, processors())


def held_bytes() -> int:
    """How much may be held if nobody says."""
    return min(256 * 1024 * 1024, max(32 * 1024 * 1024, machine_memory().total // 8))
