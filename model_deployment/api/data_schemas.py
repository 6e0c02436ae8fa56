"""The bodies of answers about versions of training data."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, Field

from model_deployment.api.examples import example
from model_deployment.core.names import ModelKey
from model_deployment.training_data.versions import Version

_SHA256 = "5f2c1d0e9b8a76543210fedcba98765432100123456789abcdef0123456789ab"
_VERSION = {
    "sha256": _SHA256, "experiment": "income", "format": "csv", "rows": 6000, "columns": 9,
    "bytes": 412034, "uploaded_at": "2026-11-30T12:00:00Z", "uploaded_by": "ada",
    "name": "income-november.csv",
}  # fmt: skip
_RUN = {
    "id": "20261130T120001-0a1b2c3d",
    "place": "/api/flow-runs/20261130T120001-0a1b2c3d",
}


class DataVersionOut(BaseModel):
    """A version of the training data."""

    model_config = example(_VERSION)

    sha256: str = Field(description="Of the file; the name of the version.")
    experiment: str = Field(description="For which it was uploaded.")
    format: str = Field(description="`csv` or `parquet`.")
    rows: int
    columns: int
    bytes: int
    uploaded_at: datetime
    uploaded_by: str | None = Field(description="A user; null where there are no users.")
    name: str | None = Field(description="Of the uploaded file.")

    @classmethod
    def members(cls, version: Version) -> dict[str, Any]:
        """The fields, for this class and its subclasses."""
        names = (
            "sha256", "experiment", "format", "rows", "bytes", "uploaded_at", "uploaded_by", "name",
        )  # fmt: skip
        return {name: getattr(version, name) for name in names} | {"columns": len(version.columns)}


class StartedRunOut(BaseModel):
    """A run that was asked for."""

    model_config = example(_RUN)

    id: str
    place: str = Field(description="Path of the run.")


class UploadedOut(DataVersionOut):
    """A file that was kept."""

    model_config = example({**_VERSION, "run": _RUN})

    run: StartedRunOut | None = Field(description="The full flow with this version; null: none.")


class ColumnOut(BaseModel):
    name: str
    type: str = Field(description="As Arrow names it.")


class TrainedModelOut(BaseModel):
    """A registered version of a model."""

    model: str
    version: int


class DataCopyOut(BaseModel):
    """Where MLflow has a copy."""

    run_id: str
    experiment_id: str
    artifact_uri: str


class DataVersionDetailsOut(DataVersionOut):
    """A version of the training data, with all that is known of it."""

    model_config = example({
        **_VERSION,
        "column_types": [{"name": "age", "type": "int64"}, {"name": "income", "type": "string"}],
        "analyses": {"income": {
            "stops": False, "counts": {"error": 0, "warning": 1, "info": 2}, "findings": [{
                "severity": "warning", "code": "missing", "column": "occupation",
                "message": "5 % of the values are missing; 1 % in the original data",
                "advice": "Find out why they are missing.",
            }],
        }},
        "models": [{"model": "income", "version": 4}],
        "mlflow": {
            "run_id": "0b5f6c9e", "experiment_id": "3",
            "artifact_uri": "mlflow-artifacts:/3/0b5f6c9e/artifacts/dataset/data.csv",
        },
    })  # fmt: skip

    column_types: list[ColumnOut]
    analyses: dict[str, dict[str, Any]] = Field(
        description="By experiment: the newest analysis against its original data."
    )
    models: list[TrainedModelOut] | None = Field(
        description="Registered versions that were trained on it, newest first; null: MLflow does not "
        "answer."
    )
    mlflow: DataCopyOut | None = Field(description="The copy in MLflow; null: not there yet.")

    @classmethod
    def of(
        cls,
        version: Version,
        analyses: Mapping[str, dict[str, Any]],
        models: Iterable[ModelKey] | None,
        copy: Mapping[str, Any] | None,
    ) -> Self:
        trained = (
            None
            if models is None
            else [TrainedModelOut(model=key.model, version=key.version) for key in models]
        )
        return cls(
            **cls.members(version),
            column_types=[ColumnOut(name=one.name, type=one.type) for one in version.columns],
            analyses=dict(analyses),
            models=trained,
            mlflow=DataCopyOut(**copy) if copy else None,
        )
