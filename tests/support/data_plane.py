"""The proxies of a controller, as the machine shows them."""

from tests.support import audit
from tests.support.harness import Controller


def proxies(controller: Controller) -> list[audit.Marked]:
    """Those that live."""
    return [one for one in controller.companions() if one.launch_id.startswith("proxy.")]
