"""What a model needs whose requirements are a text."""

import shutil
from pathlib import Path

from model_deployment.core.options import EnvManager
from model_deployment.environments.needs import Needs, read_needs
from tests.support import tiny_wheels


def needs(folder: Path, text: str, manager: EnvManager = EnvManager.UV, **kwargs: str) -> Needs:
    """Written to ``folder`` and read.

    Args:
        kwargs: those of :func:`tests.support.tiny_wheels.model`.

    Raises:
        BuildFailed: it cannot be read.
    """
    model = folder / "model"
    shutil.rmtree(model, ignore_errors=True)
    return read_needs(tiny_wheels.model(model, text, **kwargs), manager)
