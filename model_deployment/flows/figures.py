"""Figures of runs, for metrics."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from model_deployment.flows.base import FINAL, FlowState, FlowType
from model_deployment.flows.records import Record
from model_deployment.flows.service_file import ServiceState


@dataclass(frozen=True, slots=True)
class FlowFigures:
    """Of one moment; labels are flows and states, which are closed sets."""

    #: Runs that have not ended, by flow and state.
    active: Mapping[tuple[str, str], int] = field(default_factory=dict)
    #: Runs that have ended since the controller was started, by flow and state.
    ended: Mapping[tuple[str, str], int] = field(default_factory=dict)
    #: Seconds that the newest completed run of each flow took, and when it ended.
    last: Mapping[str, tuple[float, datetime]] = field(default_factory=dict)
    service: ServiceState = ServiceState.AWAY


class EndCounts:
    """Counts the runs that end while the controller runs."""

    def __init__(self) -> None:
        self._ended: Counter[tuple[str, str]] = Counter()

    def count(self, record: Record) -> None:
        """A run has ended."""
        if record.flow in [*FlowType]:
            self._ended[record.flow, str(record.state)] += 1

    def figures(self, records: Iterable[Record], service: ServiceState) -> FlowFigures:
        """All figures now; ``records``: newest first."""
        active: Counter[tuple[str, str]] = Counter()
        last: dict[str, tuple[float, datetime]] = {}
        for one in records:
            if one.flow not in [*FlowType]:
                continue
            if not one.state.final:
                active[one.flow, str(one.state)] += 1
            run = one.run
            if one.state is FlowState.COMPLETED and run and run.started and run.ended:
                seconds = (run.ended - run.started).total_seconds()
                last.setdefault(one.flow, (seconds, run.ended))
        states = [str(state) for state in FlowState]
        return FlowFigures(
            active={
                (flow, state): active[flow, state]
                for flow in FlowType
                for state in states
                if FlowState(state) not in FINAL
            },
            ended={
                (flow, state): self._ended[flow, state]
                for flow in FlowType
                for state in states
                if FlowState(state) in FINAL
            },
            last=last,
            service=service,
        )
