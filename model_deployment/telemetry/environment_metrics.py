"""The metrics of built environments and of warm parents. Labels are digests of what is there now."""

from collections.abc import Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric

from model_deployment.runtime.environment_views import BuiltView, ParentView

#: The label of the controller's own environment.
OWN = "controller"


def environment_families(
    parents: Sequence[ParentView], built: Sequence[BuiltView]
) -> Iterator[Metric]:
    memory = GaugeMetricFamily(
        "model_deployment_warm_parent_memory_bytes",
        "Memory that a warm parent has written, with what its forks share of that, by its environment.",
        labels=["environment"],
    )
    models = GaugeMetricFamily(
        "model_deployment_warm_parent_models",
        "Model servers that were forked from a warm parent and live, by its environment.",
        labels=["environment"],
    )
    for one in parents:
        label = [one.digest or OWN]
        models.add_metric(label, one.launches)
        if one.memory is not None:
            memory.add_metric(label, one.memory)
    size = GaugeMetricFamily(
        "model_deployment_environment_size_bytes",
        "Bytes on the disk of a built environment.",
        labels=["environment"],
    )
    for environment in built:
        size.add_metric([environment.digest], environment.size)
    yield from (memory, models, size)
