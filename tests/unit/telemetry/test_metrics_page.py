"""The page of metrics as text: what any library would write, and quicker."""

import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text
from prometheus_client.registry import Collector

from model_deployment.core.endpoints import EndpointName
from model_deployment.core.names import ModelKey
from model_deployment.endpoints.views import EndpointView
from model_deployment.telemetry.page import MetricsPage
from model_deployment.telemetry.prometheus import Snapshot, families
from tests.support import endpoint_views
from tests.support.metric_snapshots import page, seen, served

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class SnapshotCollector(Collector):
    def __init__(self, what: Snapshot) -> None:
        self._what = what

    def collect(self) -> Any:
        return families(self._what)


def page_by_library(what: Snapshot, accept: str) -> str:
    """Written at once, and nothing remembered."""
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(what))
    encode, _ = choose_encoder(accept)
    return encode(registry).decode()


def endpoints_of(models: list[str]) -> tuple[EndpointView, ...]:
    names = [EndpointName(model, "champion") for model in models]
    return tuple(endpoint_views.view(endpoint=endpoint_views.endpoint(name)) for name in names)


@given(
    st.lists(st.text(max_size=20), max_size=3, unique=True), st.sampled_from(["", "openmetrics"])
)
def test_no_name_of_a_model_breaks_the_page(names: list[str], form: str) -> None:
    names = [name.encode(errors="replace").decode() for name in names]
    what = seen(*(served(ModelKey(name, 1)) for name in names), endpoints=endpoints_of(names))
    read = read_text
    accept = ""
    if form:
        read, accept = read_openmetrics, OPENMETRICS
    text = page(what, accept)
    found = [
        one.labels["model"]
        for family in read(text)
        if family.name == "model_deployment_restarts"
        for one in family.samples
    ]
    assert sorted(found) == sorted(names)
    # One line for each sample, and no more than for harmless names.
    others = [f"m{at}" for at in range(len(names))]
    harmless = seen(*(served(ModelKey(name, 1)) for name in others), endpoints=endpoints_of(others))
    assert text.count("\n") == page(harmless, accept).count("\n")


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_page_is_the_librarys_whatever_was_written_before(accept: str) -> None:
    keys = [ModelKey(name, 1) for name in ("a", "b", "# HELP \n # EOF")]
    it = MetricsPage()
    for what in (
        seen(),
        seen(*map(served, keys)),
        seen(*map(served, keys)),
        seen(*(served(key, restarts=5) for key in reversed(keys)), idle=2.0),
        seen(served(keys[1], launches=())),
    ):
        content, media_type = it.write(what, [], accept)
        assert content.decode() == page_by_library(what, accept)
        assert media_type == choose_encoder(accept)[1]


def test_unchanged_deployments_are_not_written_again() -> None:
    one, other = served(ModelKey("a", 1)), served(ModelKey("b", 1))
    it = MetricsPage()
    it.write(seen(one, other), [], "")
    known = it._written["text/plain; version=0.0.4; charset=utf-8"]
    it.write(seen(replace(one), replace(other, restarts=9)), [], "")
    (written,) = it._written.values()
    assert written[one.row.key] is known[one.row.key]
    assert written[other.row.key] is not known[other.row.key]
    it.write(seen(one), [], "")
    assert next(iter(it._written.values())).keys() == {one.row.key}


def test_fifty_deployments_are_written_in_no_time() -> None:
    what = seen(*(served(ModelKey(f"model-{at}", 1)) for at in range(50)))
    began = time.process_time()
    page(what)
    assert time.process_time() - began < 1  # a tenth of it as a rule
