"""Writes the page of ``GET /metrics``. What is known of an unchanged deployment is not written again.

With 100 deployments the page has 7,000 samples, most of them what they were at the last scrape, and
``prometheus_client`` checks and escapes each anew: 50 ms on a fast machine, while predictions go on.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from model_deployment.core.names import ModelKey
from model_deployment.telemetry.endpoint_metrics import endpoint_families
from model_deployment.telemetry.prometheus import (
    DeploymentSnapshot,
    Snapshot,
    controller_families,
    deployment_families,
)

_Encode = Callable[[CollectorRegistry], bytes]
#: The samples of a deployment as text, by family.
_Samples = Sequence[bytes]


class MetricsPage:
    """Remembers the samples of each deployment, in each format that is asked for (there are few)."""

    def __init__(self) -> None:
        self._written: dict[str, dict[ModelKey, tuple[DeploymentSnapshot, _Samples]]] = {}

    def write(
        self, snapshot: Snapshot, process: Iterable[Metric], accept: str
    ) -> tuple[bytes, str]:
        """The page in the format that ``accept`` asks for, and its media type.

        Args:
            process: more families, of the controller's own process.
        """
        try:
            encode, media_type = choose_encoder(accept)
        except (ValueError, TypeError):  # a malformed version in it
            encode, media_type = choose_encoder("")
        before = self._written.get(media_type, {})
        written = {one.row.key: _samples(one, before, encode) for one in snapshot.deployments}
        self._written[media_type] = written
        heads = [head for head, _ in _blocks(_encoded(encode, deployment_families([])))]
        columns = zip(heads, *(samples for _, samples in written.values()), strict=True)
        # Last, since OpenMetrics ends with a line of its own.
        more = chain(endpoint_families(snapshot.endpoints), controller_families(snapshot), process)
        rest = _encoded(encode, more)
        return b"".join(chain(chain.from_iterable(columns), [rest])), media_type


def _samples(
    one: DeploymentSnapshot,
    known: dict[ModelKey, tuple[DeploymentSnapshot, _Samples]],
    encode: _Encode,
) -> tuple[DeploymentSnapshot, _Samples]:
    before = known.get(one.row.key)
    if before is not None and before[0] == one:
        return before
    return one, [samples for _, samples in _blocks(_encoded(encode, deployment_families([one])))]


def _encoded(encode: _Encode, metrics: Iterable[Metric]) -> bytes:
    registry = CollectorRegistry()
    registry.register(PrecomputedCollector([*metrics]))
    return encode(registry)


def _blocks(text: bytes) -> list[tuple[bytes, bytes]]:
    """The head and the samples of each family; texts and labels have no line breaks of their own."""
    blocks: list[tuple[list[bytes], list[bytes]]] = []
    for line in text.split(b"\n"):
        if line.startswith(b"# HELP "):
            blocks.append(([], []))
        if line and line != b"# EOF":
            blocks[-1][not line.startswith(b"#")].append(line + b"\n")
    return [(b"".join(head), b"".join(samples)) for head, samples in blocks]


class PrecomputedCollector(Collector):
    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def describe(self) -> list[Metric]:
        """Empty, so that registering does not collect."""
        return []

    def collect(self) -> Sequence[Metric]:
        return self._metrics
