"""Reads ``settings.yaml`` of a project's folder."""

import hashlib
from pathlib import Path

from model_deployment.core.errors import InvalidProject
from model_deployment.flow_project.parse import parse
from model_deployment.flow_project.settings import ProjectSettings

SETTINGS_FILE = "settings.yaml"
#: A larger file is none that a person wrote.
MAX_BYTES = 64 * 1024


def load(folder: Path) -> ProjectSettings:
    """The settings of a project.

    Raises:
        InvalidProject: there are none, or they cannot be used; the message names line and key.
    """
    return parse(read_text(folder))


def settings_sha256(folder: Path) -> str:
    """The SHA-256 of the bytes of ``settings.yaml``, in hexadecimal digits.

    Raises:
        InvalidProject: the file cannot be read.
    """
    return sha256_of(read_text(folder))


def sha256_of(text: str) -> str:
    """As :func:`settings_sha256`, of the file's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_text(folder: Path) -> str:
    """The text of ``settings.yaml``, whether it can be used or not.

    Raises:
        InvalidProject: there is no such file, or it is no text of at most 64 KiB.
    """
    path = folder / SETTINGS_FILE
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidProject(
            f"cannot read the settings of the project, {path}: {error.strerror}; "
            "`model-deployment flows init FOLDER` writes a project that works"
        ) from None
    if len(data) > MAX_BYTES:
        raise InvalidProject(f"cannot read {path}: it is larger than {MAX_BYTES} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidProject(
            f"cannot read {path}: byte {error.start} is no UTF-8; save the file as UTF-8"
        ) from None
