"""The folder of a project of flows: settings of its experiments, their history, and the first files."""

from model_deployment.flow_project.files import SETTINGS_FILE, load, read_text, settings_sha256
from model_deployment.flow_project.project import Project
from model_deployment.flow_project.settings import ExperimentSettings, ProjectSettings, Task
from model_deployment.flow_project.usable import unusable

__all__ = [
    "SETTINGS_FILE",
    "ExperimentSettings",
    "Project",
    "ProjectSettings",
    "Task",
    "load",
    "read_text",
    "settings_sha256",
    "unusable",
]
