"""Answers of the calls for the project of flows."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from model_deployment.flow_project.history import Saved

_SHA256 = "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"
_SAVED: dict[str, Any] = {
    "number": 3,
    "sha256": _SHA256,
    "at": "2026-11-29T12:00:00Z",
    "by": "ann",
}
_INCOME: dict[str, Any] = {
    "class": "experiments.income:Income",
    "model": "income",
    "data": "data/income.csv",
    "target": "income",
    "task": "classification",
    "metric": "f1_score",
    "trials": 12,
}
_RUNS: dict[str, Any] = {
    "income": {"train_flow": {"trials": {"type": "integer", "minimum": 1, "maximum": 10000}}}
}


class SettingsProblemOut(BaseModel):
    """One thing that is wrong with the settings."""

    line: int | None = Field(description="From 1; null if no line can be named.")
    key: str = Field(description="Keys with dots between them; empty for the whole text.")
    message: str


class FlowProjectOut(BaseModel):
    """The settings of the project, and what each run may be given."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "sha256": _SHA256,
                    "settings": {"timeseries_endpoint": None, "experiments": {"income": _INCOME}},
                    "runs": _RUNS,
                    "problems": [],
                }
            ]
        }
    )

    sha256: str = Field(description="Of the bytes of `settings.yaml`.")
    settings: dict[str, Any] | None = Field(
        description="As in `settings.yaml`, with the defaults; durations in seconds, sizes in bytes. Null "
        "if they cannot be used."
    )
    runs: dict[str, dict[str, dict[str, Any]]] = Field(
        description="By experiment and flow: the parameters of a run, as JSON schemas."
    )
    problems: list[SettingsProblemOut] = Field(
        description="Why the settings cannot be used; empty if they can."
    )


class SettingsCheckOut(BaseModel):
    """Whether a text could be saved."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"usable": True, "problems": []}]})

    usable: bool
    problems: list[SettingsProblemOut]


class SavedSettingsOut(BaseModel):
    """One text that the settings have had."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SAVED]})

    number: int = Field(description="From 1, rising.")
    sha256: str
    at: datetime
    by: str = Field(
        description="The user; empty if the file was edited outside the controller, or nobody needs a "
        "password."
    )

    @classmethod
    def of(cls, saved: Saved) -> "SavedSettingsOut":
        return cls(number=saved.number, sha256=saved.sha256, at=saved.at, by=saved.by)


class SavedTextOut(SavedSettingsOut):
    """With the text."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{**_SAVED, "text": "experiments:\n  income: ...\n"}]}
    )

    text: str

    @classmethod
    def of(cls, saved: Saved) -> "SavedTextOut":
        return cls(**SavedSettingsOut.of(saved).model_dump(), text=saved.text)
