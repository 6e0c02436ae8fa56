"""Builds the compose, brings it up with all profiles, and tries what its how-to page promises.

python -m tests.compose.run [--stand-ins] [--network host] [--keep]

``--stand-ins`` makes base images from Debian first, for machines that cannot pull any (see bases.sh); they
get the official names, so never use it where images can be pulled. Prints Markdown. Not in ``make test``.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

from tests.compose import safety, service
from tests.compose.stack import IMAGE, Stack

STEPS: tuple[Callable[[Stack], str], ...] = (
    safety.refuses_without_users,
    safety.makes_users,
    service.starts,
    safety.publishes_the_gateway_alone,
    safety.wants_passwords,
    service.serves,
    safety.runs_with_little_rights,
    service.collects_metrics,
    service.memory,
    safety.writes_logs,
    service.survives,
    safety.speaks_tls,
)


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--stand-ins", action="store_true", help="make base images from Debian")
    options.add_argument("--network", default="", help="of the build, as in docker build --network")
    options.add_argument("--keep", action="store_true", help="leave it running when a step fails")
    given = options.parse_args()
    stack = Stack()
    if given.stand_ins:
        stack.run("tests/compose/bases.sh")
    _say(f"{datetime.now(UTC):%Y-%m-%d}, {stack.versions()}.\n")
    _row("step", "seconds", "what was seen")
    _row("---", "---", "---")
    try:
        _row("build", f"{stack.build(given.network):.0f}", f"image {IMAGE} of {stack.image_size()}")
        for step in STEPS:
            began = time.monotonic()
            said = step(stack)
            _row(step.__name__.replace("_", " "), f"{time.monotonic() - began:.0f}", said)
    except (AssertionError, subprocess.SubprocessError) as error:
        _say(f"\nFAILED: {error}\n")
        if not given.keep:
            _say(stack.compose("logs", "--tail", "30", fine=False).stdout)
            stack.remove()
        return 1
    took, left = stack.remove(), stack.left()
    _row("down", f"{took:.0f}", f"left: {left}" if left else "nothing is left of it")
    return 1 if left else 0


def _row(*cells: str) -> None:
    _say("| " + " | ".join(cells) + " |")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
