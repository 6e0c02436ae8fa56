"""Sums over proxies: the traffic of a launch, and the counts of a deployment. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from model_deployment.core.measures import LaunchTraffic, ProxyCounters
from model_deployment.proxy.protocol import Message, traffic_of


def sum_traffic(parts: Sequence[LaunchTraffic], *, certain: bool) -> LaunchTraffic:
    """The traffic of a launch.

    Args:
        certain: False if there is a proxy whose traffic now is unknown.
    """
    busy = any(one.in_flight or one.reading for one in parts) or not certain
    return LaunchTraffic(
        in_flight=sum(one.in_flight for one in parts) + (not certain),
        oldest=max((one.oldest for one in parts), default=0.0),
        answered=sum(one.answered for one in parts),
        timeouts_in_row=sum(one.timeouts_in_row for one in parts),
        reading=sum(one.reading for one in parts),
        idle=0.0 if busy or not parts else min(one.idle for one in parts),
    )


@dataclass(slots=True)
class LaunchReports:
    """What each proxy reported of one launch.

    A time-out counts only until any proxy has seen an answer: "in a row" means the launch, not the proxy.
    """

    #: By proxy, as :func:`~model_deployment.proxy.protocol.traffic_message` has it.
    _latest: dict[str, Message] = field(default_factory=dict)
    #: By proxy: its time-outs in a row when another proxy saw an answer.
    _forgiven: dict[str, int] = field(default_factory=dict)

    def apply(self, proxy: str, report: Message) -> None:
        before = self._latest.get(proxy, {"timeouts_in_row": 0, "answered": 0})
        if report["timeouts_in_row"] < before["timeouts_in_row"]:
            self._forgiven.pop(proxy, None)
        if report["answered"] > before["answered"]:
            for other, seen in self._latest.items():
                if other != proxy:
                    self._forgiven[other] = seen["timeouts_in_row"]
        self._latest[proxy] = report

    def forget(self, proxy: str) -> None:
        self._latest.pop(proxy, None)
        self._forgiven.pop(proxy, None)

    def parts(self, now: float) -> list[LaunchTraffic]:
        """What it is now by each proxy."""
        found = {proxy: traffic_of(one, now) for proxy, one in self._latest.items()}
        return [
            replace(one, timeouts_in_row=max(0, one.timeouts_in_row - self._forgiven.get(proxy, 0)))
            for proxy, one in found.items()
        ]


def sum_counters(parts: Iterable[ProxyCounters]) -> ProxyCounters:
    """The counts of a deployment."""
    found = [*parts]
    if len(found) == 1:
        return found[0]
    violations: Counter[tuple[str, str]] = Counter()
    for one in found:
        violations.update(one.violations)
    checked = [one.checked for one in found if one.checked is not None]
    return ProxyCounters(
        checked=any(checked) if checked else None,
        refused=sum(one.refused for one in found),
        violations=dict(violations),
        batches=sum(one.batches for one in found),
        batched_rows=sum(one.batched_rows for one in found),
        batch_sizes=tuple(map(sum, zip(*(one.batch_sizes for one in found), strict=True)))
        or ProxyCounters().batch_sizes,
        unmergeable=next((one.unmergeable for one in found if one.unmergeable), ""),
        in_flight=sum(one.in_flight for one in found),
        waiting=sum(one.waiting for one in found),
        held=sum(one.held for one in found),
    )


def ended(counters: ProxyCounters) -> ProxyCounters:
    """What remains of the counts of a proxy that has ended."""
    return replace(counters, checked=None, unmergeable="", in_flight=0, waiting=0, held=0)
