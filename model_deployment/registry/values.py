"""Models and versions of the registry as values of our own."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from model_deployment.core.names import ModelKey
from model_deployment.log.masking import mask

#: Names that pandas gives an index when it writes the index as a column.
INDEX = re.compile(r"__index_level_\d+__|Unnamed: 0|")
#: Ranges of versions that a message names.
_RANGES = 8


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    name: str
    latest_version: int | None
    aliases: dict[str, int] = field(default_factory=dict)
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    key: ModelKey
    status: str
    created_at: datetime
    aliases: list[str] = field(default_factory=list)
    run_id: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    #: Whether the metrics could not be read in time.
    late: bool = False
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    #: Who registered the version, or ran its run; empty if the registry does not say.
    user: str = ""
    #: Where the registered files came from.
    source: str = ""

    @property
    def artifact(self) -> str:
        """A folder name; a version that is registered again after a deletion gets another one."""
        return f"{self.key}-{int(self.created_at.timestamp() * 1000)}"


def in_words(versions: Iterable[int]) -> str:
    """Versions in words: ``versions 1 to 4 and 7``; only the newest of many."""
    ranges: list[list[int]] = []
    for version in sorted(versions):
        if ranges and ranges[-1][1] == version - 1:
            ranges[-1][1] = version
        else:
            ranges.append([version, version])
    if not ranges:
        return "no versions"
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return f"version {ranges[0][0]} only"
    newest = ranges[-_RANGES:]
    written = [str(a) if a == b else f"{a} to {b}" for a, b in newest]
    start = "..., " if len(ranges) > _RANGES else ""
    joined = f"{', '.join(written[:-1])} and {written[-1]}" if len(written) > 1 else written[0]
    return f"versions {start}{joined}"


def read_model(model: Any) -> RegisteredModel:
    versions = [int(version.version) for version in model.latest_versions or []]
    return RegisteredModel(
        name=model.name,
        latest_version=max(versions, default=None),
        aliases={alias: int(version) for alias, version in (model.aliases or {}).items()},
        description=model.description or "",
        tags=dict(model.tags or {}),
    )


def read_version(
    version: Any, aliases: Any, metrics: dict[str, float], run_user: str = ""
) -> RegisteredVersion:
    """``version`` is MLflow's object; ``aliases`` are those of the whole model."""
    number = int(version.version)
    return RegisteredVersion(
        key=ModelKey(version.name, number),
        status=str(version.status),
        created_at=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
        aliases=sorted(alias for alias, at in (aliases or {}).items() if int(at) == number),
        run_id=version.run_id or None,
        metrics=metrics,
        description=getattr(version, "description", None) or "",
        tags=dict(getattr(version, "tags", None) or {}),
        user=getattr(version, "user_id", None) or run_user,
        source=shown(getattr(version, "source", None) or ""),
    )


def shown(text: str) -> str:
    """Text without the user, password and signed query of the addresses in it."""
    return re.sub(r"(://[^\s?]*)\?\S+", r"\1?...", mask(re.sub(r"//\S*@", "//", text)))
