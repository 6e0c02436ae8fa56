"""Where the artifacts of a new MLflow experiment belong. Pure."""

from pathlib import Path
from urllib.parse import unquote, urlsplit


def beside(tracking_uri: str, experiment: str) -> str | None:
    """The folder ``artifacts/EXPERIMENT`` beside a registry in an SQLite file, as a URI.

    Without a location of its own the artifacts would land in ``mlruns`` of the working directory of the
    program that happens to create the experiment, and a copy of the registry's folder would lack them.

    Args:
        experiment: a name that can be the name of a file.

    Returns:
        None: the registry is no file, and chooses a place itself.
    """
    parts = urlsplit(tracking_uri)
    path = unquote(parts.path[1:])
    if parts.scheme.partition("+")[0] != "sqlite" or not path or path == ":memory:":
        return None
    return (Path(path).absolute().parent / "artifacts" / experiment).as_uri()
