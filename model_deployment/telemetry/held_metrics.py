"""The metrics of what is held in memory for callers."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from model_deployment.core.measures import HeldFigures


def held_families(figures: HeldFigures) -> Iterator[Metric]:
    held = GaugeMetricFamily(
        "model_deployment_held_bytes",
        "Bytes that proxies hold for callers: bodies of predictions, bodies of other calls, answers.",
        labels=["use"],
    )
    for use, size in figures.held.items():
        held.add_metric([use], size)
    limit = GaugeMetricFamily(
        "model_deployment_held_limit_bytes",
        "Bytes that all proxies may hold for callers together.",
        value=figures.limit,
    )
    refused = CounterMetricFamily(
        "model_deployment_held_refused",
        "Requests that were answered 429 because others held too many bytes.",
        labels=["use"],
    )
    for use, count in figures.refused.items():
        refused.add_metric([use], count)
    yield from (held, limit, refused)
