"""The metrics of runs of flows. Labels have closed sets of values."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from model_deployment.flows.figures import FlowFigures
from model_deployment.flows.service_file import ServiceState

_BY_STATE = ("flow", "state")


def flow_families(figures: FlowFigures) -> Iterator[Metric]:
    active = GaugeMetricFamily(
        "model_deployment_flow_runs_active",
        "Runs of flows that have not ended, by flow and state.",
        labels=_BY_STATE,
    )
    for (flow, state), count in figures.active.items():
        active.add_metric([flow, state], count)
    ended = CounterMetricFamily(
        "model_deployment_flow_runs",
        "Runs of flows that have ended since the controller was started, by flow and state.",
        labels=_BY_STATE,
    )
    for (flow, state), count in figures.ended.items():
        ended.add_metric([flow, state], count)
    duration = GaugeMetricFamily(
        "model_deployment_flow_duration_seconds",
        "Seconds that the newest completed run of a flow took.",
        labels=["flow"],
    )
    moment = GaugeMetricFamily(
        "model_deployment_flow_completed_timestamp_seconds",
        "Time at which the newest completed run of a flow ended.",
        labels=["flow"],
    )
    for flow, (seconds, at) in figures.last.items():
        duration.add_metric([flow], seconds)
        moment.add_metric([flow], at.timestamp())
    up = GaugeMetricFamily(
        "model_deployment_flow_service_up",
        "Whether the service of flows is ready; it ends when nothing runs.",
        value=figures.service is ServiceState.READY,
    )
    yield from (active, ended, duration, moment, up)
