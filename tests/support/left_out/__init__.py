"""What programs of tests do without, since it takes seconds and other tests look at it."""

import os
from pathlib import Path

import pytest


def leave_evidently_out(patch: pytest.MonkeyPatch) -> None:
    """Have programs find :mod:`tests.support.left_out.evidently` in the place of Evidently."""
    before = os.environ.get("PYTHONPATH")
    path = [str(Path(__file__).parent), *filter(None, [before])]
    patch.setenv("PYTHONPATH", os.pathsep.join(path))
