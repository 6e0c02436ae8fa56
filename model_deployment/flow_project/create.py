"""Writes the first files of a project of flows: an example that works."""

import shutil
from collections.abc import Callable
from pathlib import Path

from model_deployment.core.errors import InvalidProject

_TEMPLATE = Path(__file__).parent / "template"
#: Makes the data of the example; run in the new folder.
MAKE_DATA = "make_data.py"
#: Names that files of the template have in a project.
_NAMES = {"gitignore": ".gitignore"}
#: Is in the folder as long as files are missing: what was killed then may be begun again there.
_UNFINISHED = ".unfinished"


def create(folder: Path, then: Callable[[], object] = lambda: None) -> list[Path]:
    """Write the files of the template into a folder, which is made if need be.

    Args:
        then: makes the other files of the project. If this process is killed before it returns, the next
            call begins anew; what it raises is raised.

    Returns:
        The files, relative to the folder.

    Raises:
        InvalidProject: the folder has files already, or cannot be written.
    """
    marker = folder / _UNFINISHED
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and not marker.exists():
            raise InvalidProject(
                f"cannot begin a project in {folder}: there are files already; name a new or empty folder"
            )
        marker.touch()
        written = _write_template(folder)
    except OSError as error:
        raise InvalidProject(
            f"cannot begin a project in {folder}: {error.strerror}; name a folder that you may write"
        ) from None
    try:
        then()
    except Exception:
        marker.unlink(missing_ok=True)  # the caller knows what is missing
        raise
    marker.unlink(missing_ok=True)
    return written


def _write_template(folder: Path) -> list[Path]:
    written = []
    for source in sorted(_TEMPLATE.rglob("*")):
        if source.is_dir() or "__pycache__" in source.parts:
            continue
        relative = source.relative_to(_TEMPLATE)
        relative = relative.with_name(_NAMES.get(relative.name, relative.name))
        (folder / relative).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / relative)
        written.append(relative)
    return written
