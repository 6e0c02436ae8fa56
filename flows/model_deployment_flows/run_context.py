"""What the steps of a run share: the project, the experiment, and the data that were chosen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pandas as pd

from model_deployment.core.errors import NotFound
from model_deployment.flow_project import ExperimentSettings, load, settings_sha256
from model_deployment.training_data.versions import Versions
from model_deployment_flows.environment import Environment
from model_deployment_flows.experiment import Experiment
from model_deployment_flows.frames import read_frame, read_like
from model_deployment_flows.project_class import experiment_class
from model_deployment_flows.provenance import file_sha256
from model_deployment_flows.registry import connect


@dataclass(frozen=True, slots=True)
class Data:
    """A file with training data."""

    path: Path
    sha256: str
    #: Whether it is the original data of the experiment.
    original: bool

    def __str__(self) -> str:
        return f"{'the original data' if self.original else 'version'} {self.sha256[:12]}"


@dataclass(frozen=True, slots=True)
class RunContext:
    """An experiment of the project, as a run sees it: read once, when the run begins."""

    environment: Environment
    settings: ExperimentSettings
    settings_sha256: str

    @classmethod
    def open(cls, experiment: str) -> Self:
        """Read the environment and the settings, and let MLflow's client use the registry.

        Raises:
            NotSet: a variable of the environment is missing.
            InvalidProject: the settings cannot be used.
            NotFound: there is no such experiment.
        """
        environment = Environment.read()
        connect(environment)
        project = load(environment.project)
        if experiment not in project.experiments:
            raise NotFound(
                f"cannot find the experiment {experiment[:70]!a}; the project has "
                f"{', '.join(project.experiments)}"
            )
        sha256 = settings_sha256(environment.project)
        return cls(environment, project.experiments[experiment], sha256)

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def folder(self) -> Path:
        return self.environment.project

    @property
    def versions(self) -> Versions:
        return Versions(self.environment.data_dir)

    def experiment(self, epochs: int | None = None) -> Experiment:
        """The experiment of the project's class.

        Raises:
            InvalidProject: there is no such class.
        """
        return experiment_class(self.settings, self.folder)(self.settings, epochs)

    def original(self) -> Data:
        """The original data.

        Raises:
            NotFound: the file is not there.
        """
        path = self.settings.data_path(self.folder)
        if not path.is_file():
            raise NotFound(
                f"cannot find the original data of {self.name}, {path}: there is no such file; mend "
                "`data` in settings.yaml, or put the file there"
            )
        return Data(path, file_sha256(path), original=True)

    def data(self, sha256: str | None) -> Data:
        """A version of the data; None: the newest for this experiment, else the original data, which
        ``original`` names.

        Raises:
            NotFound: there is no such version, and no original data of this digest.
        """
        if sha256 == "original":
            return self.original()
        newest = self.versions.newest(self.name) if sha256 is None else None
        if sha256 is None and newest is None:
            return self.original()
        try:
            version = newest or self.versions.get(str(sha256))
        except NotFound:
            original = self.original()
            if original.sha256 == sha256:
                return original
            raise
        return Data(version.path, version.sha256, original=False)

    def read(self, data: Data) -> pd.DataFrame:
        """The table of some data, with NaN where values are missing.

        A version has the columns of the original data, in their order and of their types: callers do not
        send others, and a row has to be the same in every version.

        Raises:
            UnusableData: it is no table.
        """
        missing = self.settings.missing_values
        original = self.settings.data_path(self.folder)
        if data.original or not original.is_file():
            return read_frame(data.path, missing)
        return read_like(data.path, original, missing)
