"""Command lines that are given beside a controller, with its settings, as forks of the same process."""

from tempfile import TemporaryFile
from typing import Any

from tests.support.harness import Controller


def run_beside(controller: Controller, *arguments: str, **settings: Any) -> tuple[int, str]:
    """Run one to its end; its exit status, and all that it says.

    Args:
        settings: other ones than the controller's, without their prefix.
    """
    assert controller.forks is not None
    changed = {f"MODEL_DEPLOYMENT_{name}": str(value) for name, value in settings.items()}
    folder = controller.data.parent
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryFile() as said:
        process = controller.forks.start(
            [*arguments], folder, controller.environment() | changed, said.fileno()
        )
        status = process.wait(60)
        said.seek(0)
        return status, said.read().decode()
