"""How hard the tests with made-up examples look: HYPOTHESIS_PROFILE is ``ci`` or ``nightly``."""

import os

from hypothesis import HealthCheck, settings

EXAMPLES = 200

# The same examples in every run, so that a red build is red for its change; other ones each night.
settings.register_profile(
    "ci",
    derandomize=True,
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "nightly", settings.get_profile("ci"), derandomize=False, max_examples=20 * EXAMPLES
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
