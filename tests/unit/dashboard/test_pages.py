"""Small pure parts of pages: metrics of the registry, headlines of reports."""

import math
from datetime import UTC, datetime

import pytest

from model_deployment.core.names import ModelKey
from model_deployment.dashboard.deployment_page import detail
from model_deployment.dashboard.registry_pages import metric_names
from model_deployment.registry.model_metrics import DEPLOYED
from model_deployment.registry.values import RegisteredVersion

KEY = ModelKey("iris", 1)


def registered(**metrics: float) -> RegisteredVersion:
    return RegisteredVersion(KEY, "READY", datetime(2026, 1, 1, tzinfo=UTC), metrics=metrics)


def test_metric_names_leave_out_those_measured_in_service() -> None:
    of_service = {f"{DEPLOYED}r2": 0.1, f"{DEPLOYED}mae": 1.0}
    versions = [
        registered(r2=0.9, loss=math.nan, **of_service),
        registered(r2=0.8, mae=2, **of_service),
    ]
    assert metric_names(versions) == ["r2", "mae"]


@pytest.mark.parametrize(
    ("verdict", "headline", "more"),
    [
        ("ok", "Unchanged", ""),
        (
            "ok",
            "Unchanged: as good as its baseline on 60 labelled rows",
            "As good as its baseline on 60 labelled rows",
        ),
        ("ok", "Unchanged; callers send wrong requests", "Callers send wrong requests"),
        ("drift", "As good as it was, but …", "As good as it was, but …"),
    ],
)
def test_detail_does_not_repeat_the_verdict(verdict: str, headline: str, more: str) -> None:
    assert detail(verdict, headline) == more
