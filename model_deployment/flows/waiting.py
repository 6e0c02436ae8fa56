"""What a run waits for, as it is now. Pure."""

from collections.abc import Sequence

from model_deployment.flows.base import FlowState
from model_deployment.flows.records import Record
from model_deployment.flows.service_file import ServiceState

#: States of a run whose process does not work yet.
WAITING = (FlowState.REQUESTED, FlowState.SCHEDULED, FlowState.PENDING)


def message(
    record: Record, unfinished: Sequence[Record], service: ServiceState, problem: str
) -> str:
    """What is said of a run: what it waits for, else what the engine says of its state.

    Args:
        unfinished: all runs that have not ended, oldest first.
        service: state of the service of flows.
        problem: why the service cannot be used; empty: nothing is wrong.
    """
    if record.state not in WAITING:
        return record.message
    if service is not ServiceState.READY:
        return _away(service, problem)
    if before := _before(record, unfinished):
        return f"waits behind {before.flow} of {before.experiment} (run {before.id})"
    if problem:
        return problem
    if record.state is FlowState.REQUESTED:
        return "the service of flows gets it now"
    return record.message or "begins in a moment"


def _away(service: ServiceState, problem: str) -> str:
    match service:
        case ServiceState.STARTING:
            return "the service of flows is starting; that takes half a minute"
        case ServiceState.STOPPING:
            return "the service of flows is stopping, and starts again then"
    return problem or "the service of flows is about to start"


def _before(record: Record, unfinished: Sequence[Record]) -> Record | None:
    """The run that has its turn, if it is another one: one that runs, else the oldest."""
    working = [one for one in unfinished if one.state not in WAITING]
    turn = next(iter(working or unfinished), record)
    return None if turn.id == record.id else turn
