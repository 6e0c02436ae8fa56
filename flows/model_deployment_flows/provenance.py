"""Where a model comes from: digests of its data, its settings and its code."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from model_deployment.flow_project import ExperimentSettings

#: Settings that decide which model comes out of given data. A threshold, say, does not.
_RECIPE = (
    "class_path", "target", "task", "time_column", "missing_values", "search_space", "metric",
    "direction", "test_share",
)  # fmt: skip
_LIBRARIES = ("jax", "keras", "numpy", "optuna", "pandas", "scikit-learn")
#: Goes up when the base classes prepare or split data in another way.
_PREPARATION = "1"
#: Characters of a key: 64 bits.
_KEY = 16


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides which model comes out of a training."""

    experiment: str
    #: Of the data, in hexadecimal digits.
    data_sha256: str
    #: Of the settings that matter here.
    settings: str
    #: SHA-256 of the experiment's modules, and of those that are not in a package.
    code: str
    model_types: tuple[str, ...]
    epochs: int
    #: Libraries with their versions, and what this package does with the data.
    libraries: tuple[str, ...]

    @property
    def study(self) -> str:
        """Key of the study: further trials of the same recipe go on with it."""
        return _key(asdict(self))

    def training(self, trials: int, timeout: float) -> str:
        """Key of a training: the same one again is the same model.

        Args:
            timeout: seconds; a study whose time was up may find a better model with more.
        """
        return _key({**asdict(self), "trials": trials, "timeout": float(timeout)})


def recipe(
    settings: ExperimentSettings,
    folder: Path,
    *,
    data_sha256: str,
    model_types: tuple[str, ...],
    epochs: int,
) -> Recipe:
    """The recipe of an experiment of the project in ``folder``."""
    chosen = settings.model_dump(mode="json", include={*_RECIPE})
    return Recipe(
        settings.name,
        data_sha256,
        json.dumps(chosen, sort_keys=True),
        _sha256_of_code(folder, settings.class_path),
        model_types,
        epochs,
        (_PREPARATION, *_libraries()),
    )


def _libraries() -> Iterator[str]:
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):
            yield f"{name} {version(name)}"


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def commit(folder: Path) -> str:
    """The commit of the Git repository that ``folder`` is in; empty if it is in none."""
    from mlflow.utils.git_utils import get_git_commit

    return get_git_commit(str(folder)) or ""


def _sha256_of_code(folder: Path, class_path: str) -> str:
    top = class_path.partition(":")[0].partition(".")[0]
    digest = hashlib.sha256()
    for path in _modules(folder, top):
        digest.update(f"{path.relative_to(folder)}\0".encode())
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def _modules(folder: Path, top: str) -> Iterable[Path]:
    """Of the experiment's package, and those beside it, which it may import."""
    return sorted([*folder.glob("*.py"), *(folder / top).rglob("*.py")])


def _key(content: object) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY]
