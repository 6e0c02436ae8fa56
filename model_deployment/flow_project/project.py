"""The project that a controller is set to, if it is set to one."""

from pathlib import Path

from model_deployment.core.errors import NoProject
from model_deployment.flow_project.files import SETTINGS_FILE, read_text
from model_deployment.flow_project.parse import parse
from model_deployment.flow_project.settings import ProjectSettings

_VARIABLE = "MODEL_DEPLOYMENT_FLOWS_PROJECT"


class Project:
    """A folder with ``settings.yaml``, which is read again whenever the file has changed."""

    def __init__(self, folder: Path | None) -> None:
        """``folder`` is None if no project is set."""
        self._folder = folder
        self._read: tuple[str, ProjectSettings] | None = None

    @property
    def folder(self) -> Path:
        """The folder.

        Raises:
            NoProject: none is set.
        """
        if self._folder is None:
            raise NoProject(
                "cannot use flows: no project is set. `model-deployment flows init FOLDER` writes one; set "
                f"{_VARIABLE}=FOLDER then, and start the controller again"
            )
        return self._folder

    @property
    def is_set(self) -> bool:
        return self._folder is not None

    @property
    def path(self) -> Path:
        """The file with the settings."""
        return self.folder / SETTINGS_FILE

    def text(self) -> str:
        """The text of the settings, whether it can be used or not.

        Raises:
            NoProject: none is set.
            InvalidProject: the file cannot be read.
        """
        return read_text(self.folder)

    def settings(self) -> ProjectSettings:
        """The settings as they are now.

        Raises:
            NoProject: none is set.
            InvalidProject: they cannot be used.
        """
        text = self.text()
        if self._read is None or self._read[0] != text:
            self._read = text, parse(text)
        return self._read[1]
