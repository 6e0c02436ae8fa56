"""The replicas of a deployment: how many are wanted, how many serve, and which launch each has. Pure."""

from dataclasses import dataclass

from model_deployment.core.domain import Deployment, Desired, Launch, LaunchState, State

#: States in which no launch is to serve now.
_AT_REST = frozenset({State.PARKED, State.STOPPED})


@dataclass(frozen=True, slots=True)
class ReplicaCounts:
    """The replicas of a deployment."""

    #: Launches that are to serve now; 0 while it is parked or stopped, or about to be.
    wanted: int
    #: Launches that answer requests.
    ready: int

    @property
    def missing(self) -> int:
        """How many more are to serve than do."""
        return max(0, self.wanted - self.ready)


def replica_counts(row: Deployment) -> ReplicaCounts:
    at_rest = row.desired is Desired.STOPPED or row.parking or row.state in _AT_REST
    return ReplicaCounts(wanted=0 if at_rest else row.replicas, ready=len(row.ready))


def missing_replicas(row: Deployment) -> str:
    """How many replicas serve, in words; empty if all do, or if one alone is wanted, or none serves."""
    counts = replica_counts(row)
    if not counts.missing or not counts.ready:
        return ""
    told = f"{counts.ready} of {counts.wanted} replicas serve"
    failing = next((one for one in row.serving if one.tries and one.reason), None)
    return f"{told}; replica {failing.replica}: {failing.reason}" if failing else told


def progress(row: Deployment) -> str:
    """How many replicas serve, in words; during a change how many of them have it."""
    current = sum(one.generation == row.generation for one in row.ready)
    if all(one.generation == row.generation for one in row.serving):
        return f"{len(row.ready)} of {row.replicas} replicas serve"
    what = row.replacement.purpose if row.replacement else "change of options"
    return f"{current} of {row.replicas} replicas have the {what}"


def stuck_launch(row: Deployment) -> Launch | None:
    """A replica with what the deployment has now that does not serve, and has ended or failed before."""
    return next(
        (
            one
            for one in row.serving
            if one.state is not LaunchState.READY
            and one.generation == row.generation
            and (one.tries or one.kills)
        ),
        None,
    )


def launch_of_replica(row: Deployment, replica: int) -> str | None:
    """Id of the launch that a replica has now: the one that serves, else one that comes or retires."""
    ids = (one.launch_id for one in row.launches if one.replica == replica and one.launch_id)
    return next(ids, None)
