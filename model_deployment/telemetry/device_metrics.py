"""The metrics of devices and their releases.

Labels are names of projects, numbers of releases, or have closed sets of values: nothing that a device
sends becomes a label. Releases that no device runs have no series.
"""

from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from model_deployment.core.device_figures import DeviceFigures, ProjectFigures
from model_deployment.core.devices import Presence, UpdateState
from model_deployment.core.releases import ReleaseState


def device_families(figures: DeviceFigures) -> Iterator[Metric]:
    yield from _project_families(figures.projects)
    yield CounterMetricFamily(
        "model_deployment_device_messages",
        "Messages of devices that were stored since the controller was started.",
        value=figures.received,
    )
    yield GaugeMetricFamily(
        "model_deployment_device_messages_waiting",
        "Messages of devices that wait for the document store.",
        value=figures.waiting,
    )
    yield GaugeMetricFamily(
        "model_deployment_device_sockets", "Sockets of devices.", value=figures.sockets
    )


def _project_families(projects: Sequence[ProjectFigures]) -> Iterator[Metric]:
    devices = GaugeMetricFamily(
        "model_deployment_devices",
        "Devices of a project by presence.",
        labels=["project", "presence"],
    )
    running = GaugeMetricFamily(
        "model_deployment_devices_running",
        "Devices of a project, without revoked ones, by the number of the release that they run; 0: none.",
        labels=["project", "release"],
    )
    for one in projects:
        for presence in Presence:
            devices.add_metric([one.project, str(presence)], one.presence.get(presence, 0))
        for number, count in sorted(one.running.items()):
            running.add_metric([one.project, str(number)], count)
    yield from (devices, running)
    yield from _release_families(projects)


def _release_families(projects: Sequence[ProjectFigures]) -> Iterator[Metric]:
    number = GaugeMetricFamily(
        "model_deployment_release_number",
        "Number of a project's newest release; 0 before the first one.",
        labels=["project"],
    )
    state = GaugeMetricFamily(
        "model_deployment_release_state",
        "State of a project's newest release that takes none back: 1 for the current state, 0 for the "
        "others.",
        labels=["project", "state"],
    )
    since = GaugeMetricFamily(
        "model_deployment_release_since_timestamp_seconds",
        "Time at which that release entered its state, or its stage.",
        labels=["project"],
    )
    updates = GaugeMetricFamily(
        "model_deployment_release_devices",
        "Devices by what they have made of that release, failed updates among them; those that were not "
        "told of it are left out.",
        labels=["project", "state"],
    )
    for one in projects:
        number.add_metric([one.project], one.newest.number if one.newest else 0)
        if (asked := one.asked) is None:
            continue
        for release_state in ReleaseState:
            state.add_metric([one.project, str(release_state)], asked.state is release_state)
        since.add_metric([one.project], asked.since.timestamp())
        for update in UpdateState:
            updates.add_metric([one.project, str(update)], asked.updates.get(update, 0))
    yield from (number, state, since, updates)
