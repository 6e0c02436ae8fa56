"""Imports the class of an experiment from the folder of the project."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

from model_deployment.core.errors import InvalidProject
from model_deployment.flow_project import ExperimentSettings
from model_deployment_flows.experiment import Experiment

#: The folders of projects whose modules this process may have imported.
_used: set[Path] = set()


def experiment_class(settings: ExperimentSettings, folder: Path) -> type[Experiment]:
    """The class that the settings name. Its modules are imported once in a process, for one folder.

    Raises:
        InvalidProject: there is no such class, or it is no :class:`Experiment`.
    """
    module_name, _, name = settings.class_path.partition(":")
    what = f"cannot use the experiment {settings.name}: class {settings.class_path}"
    # First, so that no installed package of the same name hides the project's modules.
    sys.path[:] = [str(folder), *(place for place in sys.path if place != str(folder))]
    _forget_others(folder)
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise InvalidProject(
            f"{what} cannot be imported from {folder}: {type(error).__name__}: {error}"
        ) from error
    found = getattr(module, name, None)
    if not (isinstance(found, type) and issubclass(found, Experiment)):
        raise InvalidProject(
            f"{what} is no subclass of model_deployment_flows.experiment.Experiment; mend `class` in "
            "settings.yaml, or the module"
        )
    known = found.model_types
    if known and (unknown := [one for one in settings.model_types if one not in known]):
        raise InvalidProject(
            f"{what} knows no model type {', '.join(unknown)}; it knows {', '.join(known)}"
        )
    return found


def _forget_others(folder: Path) -> None:
    """Forget the modules of the projects that were used before, and where they are."""
    for other in _used - {folder}:
        names = {name.partition(".")[0] for name, one in sys.modules.items() if _is_of(one, other)}
        for name in [one for one in sys.modules if one.partition(".")[0] in names]:
            del sys.modules[name]
        sys.path[:] = [place for place in sys.path if place != str(other)]
    _used.clear()
    _used.add(folder)


def _is_of(module: ModuleType, folder: Path) -> bool:
    """Whether it is found from the folder itself, and not from an environment inside it."""
    file, (top, *_) = getattr(module, "__file__", None), module.__name__.split(".")
    if not file or not Path(file).is_relative_to(folder):
        return False
    return Path(file).relative_to(folder).parts[0] in (top, f"{top}.py")
