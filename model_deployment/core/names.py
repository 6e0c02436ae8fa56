"""What deployments are called: a registered model's name and a version, as they may come from a caller."""

import re
from dataclasses import dataclass
from urllib.parse import quote

from model_deployment.core.errors import InvalidName, NotDeployed

#: What a model may be called to be deployed. MLflow itself also accepts ``--host=0.0.0.0`` or
#: ``$(id)``; a name becomes a path segment, a folder name and a log field, so it has to be plain.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,127}", re.ASCII)
#: Canonical version numbers only: MLflow's own parser takes ``01``, ``1_0`` and full-width digits.
VERSION = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)

#: First path segments that are, or may become, the controller's own.
RESERVED_NAMES = frozenset({
    "alias", "aliases", "api", "blobs", "compare", "dashboard", "datasets", "deploy", "devices",
    "docs", "endpoints", "events", "favicon.ico", "flows", "get_deployed_models",
    "get_model_list", "get_model_version_list", "health", "invocations", "login", "metrics",
    "mlflow", "model", "model_info", "models", "openapi.json", "ping", "predict_timeseries",
    "projects", "ready", "redoc", "robots.txt", "set_model", "static", "static-offline-docs",
    "undeploy", "upload_data", "v1", "v2", "version", "webhooks", "ws",
})  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class ModelKey:
    """One version of one registered model; written ``<model>-<version>``."""

    model: str
    version: int

    @classmethod
    def of(cls, model: str, version: str | int) -> "ModelKey":
        """Check a name and a version as they came from a caller.

        Raises:
            InvalidName: the name or the version may not be deployed; the message says why.
        """
        key = cls._checked(model, str(version))
        if model.lower() in RESERVED_NAMES:
            raise InvalidName(
                f"cannot use the model name {_shown(model)}: it is reserved for the controller's own paths"
            )
        return key

    @classmethod
    def addressed(cls, model: str, version: str | int) -> "ModelKey":
        """As :meth:`of`, of what may have been deployed before its name was reserved.

        Raises:
            InvalidName: nothing can ever have been deployed under it.
        """
        return cls._checked(model, str(version))

    @classmethod
    def _checked(cls, model: str, version: str) -> "ModelKey":
        if not NAME.fullmatch(model):
            raise InvalidName(
                f"cannot use the model name {_shown(model)}: a deployable name has 1 to 128 characters, "
                "letters, digits, '.', '_', '-' and spaces only, and begins with a letter or a digit"
            )
        if not VERSION.fullmatch(version):
            raise InvalidName(
                f"cannot use the version {_shown(version)}: a version is a whole number from 1 to "
                "999999999, written without sign, spaces or leading zeros"
            )
        return cls(model, int(version))

    @classmethod
    def parse(cls, text: str) -> "ModelKey":
        """Read ``<model>-<version>``, split at the last hyphen.

        A reserved name is let pass: the model may have been deployed before its name was reserved.

        Raises:
            NotDeployed: the text is no key at all, so nothing can be deployed under it.
        """
        model, hyphen, version = text.rpartition("-")
        if not hyphen:
            raise NotDeployed(
                f"cannot find {_shown(text)}: a deployment is addressed as <model>-<version>, "
                "for example diabetes-1"
            )
        return cls._checked(model, version)

    def __str__(self) -> str:
        return f"{self.model}-{self.version}"

    @property
    def path(self) -> str:
        """The canonical URL path predictions are sent to."""
        return "/" + quote(str(self), safe="")


def _shown(text: str, limit: int = 60) -> str:
    """A caller's text, safe and short enough to appear in a message."""
    return ascii(text if len(text) <= limit else text[:limit] + "...")
