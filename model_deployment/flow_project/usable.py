"""What the settings of a project name and its folder does not have."""

from pathlib import Path

from model_deployment.flow_project.settings import ProjectSettings


def unusable(folder: Path, settings: ProjectSettings) -> list[str]:
    """A sentence for each file that the settings name and that is not there. Runs none of the code."""
    found = []
    for experiment in settings.experiments.values():
        data = experiment.data_path(folder)
        if not data.is_file():
            found.append(
                f"{experiment.name}.data: there is no file {data}; put the original data there"
            )
        module = experiment.class_path.partition(":")[0].replace(".", "/")
        places = (folder / f"{module}.py", folder / module / "__init__.py")
        if not any(place.is_file() for place in places):
            found.append(f"{experiment.name}.class: there is no file {places[0]}")
    return found
