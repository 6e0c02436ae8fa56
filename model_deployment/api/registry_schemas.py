"""The bodies of answers about the registry: models, their versions, and what is known of one version."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from model_deployment.api.examples import example
from model_deployment.core.domain import State
from model_deployment.registry.values import RegisteredVersion
from model_deployment.registry.version_details import VersionDetails


class RegisteredModelOut(BaseModel):
    """A registered model."""

    model_config = example({
        "name": "diabetes", "latest_version": 4, "aliases": {"champion": 2}, "tags": {"team": "red"},
        "description": "Disease progression one year after baseline", "deployed_versions": [1, 2],
    })  # fmt: skip

    name: str
    latest_version: int | None
    aliases: dict[str, int] = Field(description="Version of each alias.")
    description: str
    tags: dict[str, str]
    deployed_versions: list[int]


class RegisteredVersionOut(BaseModel):
    """A version of a registered model."""

    model_config = example({
        "version": 2, "aliases": ["champion"], "status": "READY", "description": "more trees",
        "tags": {"data": "2026-01"}, "user": "ann", "source": "models:/m-5f0c1d",
        "run_id": "0b5f6c9e", "created_at": "2026-01-31T12:00:00Z", "metrics": {"test_rmse": 56.1},
        "state": "ready",
    })  # fmt: skip

    version: int
    aliases: list[str]
    status: str = Field(description="Status in the registry; READY if the version can be deployed.")
    description: str
    tags: dict[str, str]
    user: str = Field(description="Who registered the version or ran its run; empty if unknown.")
    source: str = Field(description="Where the registered files came from.")
    run_id: str | None
    created_at: datetime
    metrics: dict[str, float | None]
    state: State | None = Field(description="State of the deployment; null if there is none.")

    @classmethod
    def of(cls, version: RegisteredVersion, state: State | None) -> "RegisteredVersionOut":
        return cls(
            version=version.key.version,
            aliases=version.aliases,
            status=version.status,
            description=version.description,
            tags=version.tags,
            user=version.user,
            source=version.source,
            run_id=version.run_id,
            created_at=version.created_at,
            metrics=finite(version.metrics),
            state=state,
        )


class RegisteredOut(BaseModel):
    """What the registry says of a deployed version."""

    description: str
    tags: dict[str, str]
    aliases: list[str]
    run_id: str | None
    run_url: str | None = Field(description="Page of the run; null if the registry has no pages.")
    source: str = Field(description="Where the registered files came from.")
    user: str = Field(description="Who registered the version or ran its run; empty if unknown.")
    flavors: dict[str, str] = Field(
        description="Flavors of the model, each with the version of its library, or an empty text."
    )
    created_at: datetime
    metrics: dict[str, float | None]
    as_of: datetime | None = Field(
        description="When this was read, if the registry does not answer now; else null."
    )

    @classmethod
    def of(cls, found: VersionDetails) -> "RegisteredOut":
        return cls(
            description=found.description,
            tags=found.tags,
            aliases=found.aliases,
            run_id=found.run_id,
            run_url=found.run_url,
            source=found.source,
            user=found.user,
            flavors=found.flavors,
            created_at=found.created_at,
            metrics=finite(found.metrics),
            as_of=found.as_of,
        )


def finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics or health as JSON has them: MLflow and devices have NaN, JSON has not."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }
