"""What a handle keeps of the variables that a launch was started with."""

from model_deployment.runtime import identity
from model_deployment.runtime.base import THREADS
from model_deployment.runtime.parents import DIGEST
from model_deployment.worker.threads import COUNT


def marks_of(environment: bytes) -> dict[str, str | int]:
    """Members of a handle's ``ref``, as far as the variables are set.

    Args:
        environment: as the kernel has it, see :func:`~model_deployment.runtime.identity.environment`.
    """
    found: dict[str, str | int] = {}
    if digest := identity.variable(environment, identity.ENVIRONMENT):
        found[DIGEST] = digest
    if (threads := identity.variable(environment, COUNT) or "").isdigit():
        found[THREADS] = int(threads)
    return found
