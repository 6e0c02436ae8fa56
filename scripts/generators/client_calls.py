"""The calls in docs/reference/python-client.md, from the client itself."""

import inspect
import re
from typing import Any

from model_deployment.client.aio import (
    deployments,
    device_projects,
    devices,
    endpoints,
    flow_project,
    flows,
    monitoring,
    predictions,
    registry,
    training_data,
)

_AREAS: tuple[tuple[str, type[Any]], ...] = (
    ("Predictions", predictions.AsyncPredicting),
    ("Deployments", deployments.AsyncDeployments),
    ("Endpoints", endpoints.AsyncEndpoints),
    ("Projects of devices", device_projects.AsyncDeviceProjects),
    ("Devices", devices.AsyncDevices),
    ("Monitoring", monitoring.AsyncMonitoring),
    ("Training data", training_data.AsyncTrainingData),
    ("Project of flows", flow_project.AsyncProjectOfFlows),
    ("Runs of flows", flows.AsyncFlows),
    ("Registry and controller", registry.AsyncRegistry),
)


def calls() -> str:
    return "\n\n".join(_area(title, kind) for title, kind in _AREAS)


def _area(title: str, kind: type[Any]) -> str:
    found: dict[str, Any] = {
        name: one
        for name, one in vars(kind).items()
        if inspect.isfunction(one) and not name.startswith("_")
    }
    rows = (f"| `{_signature(name, one)}` | {_summary(one)} |" for name, one in found.items())
    return "\n".join([f"## {title}", "", "| call | what it does |", "| --- | --- |", *rows])


def _signature(name: str, method: Any) -> str:
    shown = []
    named = False
    for one in list(inspect.signature(method).parameters.values())[1:]:
        if one.kind is one.KEYWORD_ONLY and not named:
            named = True
            shown.append("*")
        stars = "**" if one.kind is one.VAR_KEYWORD else ""
        default = "" if one.default is one.empty else f"={one.default!r}"
        shown.append(f"{stars}{one.name}{default}")
    return f"{name}({', '.join(shown)})"


def _summary(method: Any) -> str:
    text = inspect.getdoc(method).partition("\n\n")[0].replace("\n", " ")  # type: ignore[union-attr]
    text = re.sub(r":\w+:`([^`]*)`", r"`\1`", text).replace("``", "`")
    return str(text).replace("|", "\\|")
