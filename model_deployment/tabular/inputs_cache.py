"""Reads the inputs of each model from its artifacts once."""

import logging
from pathlib import Path

from model_deployment.registry.mlmodel import MLmodelReader
from model_deployment.tabular.input_columns import ModelInputs

_log = logging.getLogger(__name__)

#: Most models whose inputs stay in memory.
_MOST = 1000


class InputsCache:
    def __init__(self, models: Path | None) -> None:
        """``models``: the folder of artifacts; None finds no inputs."""
        self._models = models
        self._description = MLmodelReader()
        self._found: dict[str, ModelInputs] = {}

    def __call__(self, artifact: str) -> ModelInputs | None:
        """The inputs of a model by its artifacts, empty without a signature; None without artifacts."""
        if artifact in self._found:
            return self._found[artifact]
        if self._models is None or not artifact or Path(artifact).name != artifact:
            return None
        folder = self._models / artifact / "model"
        if not (folder / "MLmodel").is_file():
            return None  # it may be fetched again just now
        signature = self._description.read(folder)[0]
        try:
            found = ModelInputs((signature or {}).get("inputs") or ())
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            _log.warning(
                "cannot read the signature of %s, so values are not converted: %r", artifact, error
            )
            found = ModelInputs()
        if len(self._found) >= _MOST:
            self._found.clear()
        self._found[artifact] = found
        return found
