"""The metrics of endpoints and their rollouts.

Labels are names and versions of endpoints, or have closed sets of values. Each version of an endpoint makes
series of its own, which end when the endpoint uses the version no more.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric

from model_deployment.core.endpoints import Rollout, RolloutState
from model_deployment.endpoints.views import EndpointView

#: Labels that name an endpoint, and one of its versions.
_ENDPOINT = ("endpoint", "model")
_VERSION = (*_ENDPOINT, "version")


def endpoint_families(endpoints: Sequence[EndpointView]) -> Iterator[Metric]:
    champion = GaugeMetricFamily(
        "model_deployment_endpoint_champion",
        "Version that an endpoint serves; 0 if it serves none.",
        labels=_ENDPOINT,
    )
    share = GaugeMetricFamily(
        "model_deployment_endpoint_share",
        "Share of the requests to an endpoint that a version answers, 0 to 1.",
        labels=_VERSION,
    )
    for view in endpoints:
        champion.add_metric(_named(view), view.endpoint.champion or 0)
        for version in view.versions:
            share.add_metric([*_named(view), str(version.version)], version.share)
    yield from (champion, share)
    yield from _rollout_families(
        [(view, view.rollout) for view in endpoints if view.rollout is not None]
    )


def _rollout_families(rollouts: Sequence[tuple[EndpointView, Rollout]]) -> Iterator[Metric]:
    state = _labelled(
        "model_deployment_rollout_state",
        "State of an endpoint's newest rollout: 1 for the current state, 0 for the others.",
        "state",
        rollouts,
        lambda _, rollout: ((str(one), rollout.state is one) for one in RolloutState),
    )
    evidence = _labelled(
        "model_deployment_rollout_evidence",
        "Evidence of a guard against the candidate, as a share of the limit: 1 rolls it back.",
        "guard",
        [one for one in rollouts if one[1].active],
        lambda view, _: _evidence(view),
    )
    since = GaugeMetricFamily(
        "model_deployment_rollout_since_timestamp_seconds",
        "Time at which an endpoint's newest rollout entered its state, or its canary step.",
        labels=_VERSION,
    )
    for view, rollout in rollouts:
        since.add_metric([*_named(view), str(rollout.candidate)], rollout.since.timestamp())
    yield from (state, since, evidence)


def _labelled(
    name: str,
    help: str,
    label: str,
    rollouts: Iterable[tuple[EndpointView, Rollout]],
    values: Callable[[EndpointView, Rollout], Iterable[tuple[str, float]]],
) -> Metric:
    """A metric of candidates with one more label."""
    family = GaugeMetricFamily(name, help, labels=(*_VERSION, label))
    for view, rollout in rollouts:
        for value, sample in values(view, rollout):
            family.add_metric([*_named(view), str(rollout.candidate), value], sample)
    return family


def _evidence(view: EndpointView) -> Iterator[tuple[str, float]]:
    for reading in view.judgement.readings if view.judgement else ():
        if reading.limit > 0:
            yield reading.guard, reading.evidence / reading.limit


def _named(view: EndpointView) -> list[str]:
    """The values of the labels that name it."""
    return [str(view.endpoint.name), view.endpoint.name.model]
