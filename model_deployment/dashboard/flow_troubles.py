"""Runs of flows that need attention: the newest of each experiment, if it failed. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from model_deployment.dashboard.attention import Need, Problem
from model_deployment.flows.base import FlowState
from model_deployment.flows.records import Record

_NAMES = {FlowState.FAILED: "Run failed", FlowState.CRASHED: "Run crashed"}
#: Characters of a message that are shown.
_SHOWN = 300


@dataclass(frozen=True, slots=True)
class FlowTrouble:
    """A run that needs attention. Equal ones look the same."""

    #: No deployment and no endpoint has such a name.
    name: str
    #: In words, for people.
    title: str
    run: str
    problems: tuple[Problem, ...]


def flow_troubles(records: Iterable[Record]) -> dict[str, FlowTrouble]:
    """By name, the failed and crashed runs after which no run of their experiment has completed.

    Args:
        records: newest first.
    """
    newest: dict[str, Record] = {}
    for one in records:
        if one.state in _NAMES or one.state is FlowState.COMPLETED:
            newest.setdefault(one.experiment, one)
    found = (_trouble(one) for one in newest.values() if one.state in _NAMES)
    return {one.name: one for one in found}


def _trouble(record: Record) -> FlowTrouble:
    title = f"{record.flow} of {record.experiment}"
    since = record.run.ended if record.run else None
    lines = record.message.strip().splitlines()
    text = lines[0][:_SHOWN] if lines else "the log of the run says more"
    problem = Problem(Need.FLOW, _NAMES[record.state], text, since=since or record.at, public="")
    return FlowTrouble(f"flow of {record.experiment}", title, record.id, (problem,))
