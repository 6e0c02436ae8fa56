"""Changes of options and restarts. Each step is one compare-and-set."""

import sqlite3

from model_deployment.core.domain import Deployment, Launch, LaunchRole, LaunchState, State, Step
from model_deployment.core.errors import IllegalTransition
from model_deployment.core.merging import Merging
from model_deployment.core.options import Options
from model_deployment.core.replacement import ReplacementState, Strategy
from model_deployment.state import launch_rows, new_options, replacement_rows, rows
from model_deployment.state.database import Database
from model_deployment.state.replacement_rows import it_of

#: The order in which launches are replaced: first those that serve least.
_LEAST_SERVING = (
    LaunchState.PENDING,
    LaunchState.STARTING,
    LaunchState.STOPPING,
    LaunchState.READY,
)


class Replacements:
    """Changes what deployments have; :class:`~model_deployment.state.deployments.Deployments` reads it.

    Each method that changes returns the deployment as it is afterwards. It raises
    :class:`IllegalTransition` when the deployment has changed since it was read, or the change is illegal.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ask(
        self, row: Deployment, options: Options, strategy: Strategy, purpose: str, deadline: float
    ) -> Deployment:
        """Want the launches of a deployment to be replaced. Beside them, a launch is wanted at once.

        Args:
            purpose: what was asked for, and by whom.
            deadline: when it is given up unless its launch was started; monotonic clock, in seconds.

        Raises:
            IllegalTransition: the deployment has changed since it was read.
            Conflict: another replacement is under way.
        """

        def work(connection: sqlite3.Connection) -> Deployment:
            now = replacement_rows.changeable(connection, row)
            # One that rolls goes on as this one: its launches are of an earlier generation now.
            connection.execute(
                "DELETE FROM replacements WHERE deployment_id = "
                "(SELECT id FROM deployments WHERE model = ? AND version = ?)",
                (row.key.model, row.key.version),
            )
            connection.execute(
                "INSERT INTO replacements (deployment_id, state, strategy, options, deadline, reason, "
                "purpose, since) SELECT id, 'coming', ?, ?, ?, 'asked for', ?, ? FROM deployments "
                "WHERE model = ? AND version = ?",
                (
                    strategy, rows.options_text(options), deadline, purpose, rows.now(),
                    row.key.model, row.key.version,
                ),
            )  # fmt: skip
            if strategy is Strategy.BESIDE:
                replaced = _replaced(now)
                launch_rows.insert(
                    connection, now, LaunchRole.COMING, "asked for",
                    replica=replaced.replica if replaced else 0,
                    options=options, generation=now.generation + 1,
                )  # fmt: skip
            rows.note(connection, now, f"{purpose} asked for")
            return rows.current(connection, row.key)

        return await self._database.write(work)

    async def hold(self, row: Deployment, reason: str, deadline: float) -> Deployment:
        """Say why its launch is pending, and until when it may be; monotonic clock, in seconds."""

        def work(connection: sqlite3.Connection) -> Deployment:
            now = rows.fresh(connection, row)
            coming = _coming(now)
            launch_rows.check_move(now, coming, LaunchState.PENDING)
            launch_rows.update(connection, coming, reason=reason)
            replacement_rows.tell(connection, now, reason, deadline=deadline)
            return rows.current(connection, row.key)

        return await self._database.write(work)

    async def switch(
        self, row: Deployment, merging: Merging, memory: int | None, now: float, drain_until: float
    ) -> Deployment:
        """In one transaction, the new launch serves, its options are the deployment's, and one retires.

        A launch that has no processes gives its place at once.

        Args:
            merging: whether requests to the new launch are merged.
            memory: what is known of the new launch's memory, in bytes.
            now: the monotonic clock, in seconds.
            drain_until: until when the requests of the launch before may take.
        """
        return await self._database.write(
            lambda c: _switch(c, row, merging, memory, now, drain_until)
        )

    async def give_up(self, row: Deployment, reason: str, quarantined_until: float) -> Deployment:
        """There is no new launch any more; the ones before go on.

        Args:
            quarantined_until: until when no other launch gets its port; monotonic clock, in seconds.
        """

        def work(connection: sqlite3.Connection) -> Deployment:
            now = rows.fresh(connection, row)
            coming = _coming(now)
            launch_rows.check_move(now, coming, None)
            launch_rows.delete(connection, coming, quarantined_until)
            return _failed(connection, now, reason)

        return await self._database.write(work)

    async def fail(self, row: Deployment, reason: str, now: float) -> Deployment:
        """The change could not be begun, and the launches that serve go on.

        Its own launch is gone if it was pending; otherwise it retires, with nothing to finish.

        Args:
            now: when it is to be killed; monotonic clock, in seconds.
        """

        def work(connection: sqlite3.Connection) -> Deployment:
            found = rows.fresh(connection, row)
            replacement_rows.drop_coming(connection, found, reason, now)
            return _failed(connection, found, reason)

        return await self._database.write(work)

    async def failed_launch(self, row: Deployment) -> str | None:
        """Id of the launch of a replacement that failed; None if it had none."""
        it = it_of(row)

        def work(connection: sqlite3.Connection) -> str | None:
            found = connection.execute(
                "SELECT e.launch_id FROM events e JOIN deployments d ON d.id = e.deployment_id "
                "WHERE d.model = ? AND d.version = ? AND e.reason = ? ORDER BY e.id DESC LIMIT 1",
                (row.key.model, row.key.version, _failure(it.purpose, it.reason)),
            ).fetchone()
            return found["launch_id"] if found else None

        return await self._database.read(work)

    async def hand_over(self, row: Deployment) -> Deployment:
        """Give the new options to a deployment without a live launch, which starts at once.

        Raises:
            IllegalTransition: it has changed since it was read, has such a launch, or needs none to stop.
        """
        return await self._database.write(lambda c: new_options.hand_over(c, row))

    async def end(self, row: Deployment) -> Deployment:
        """Nothing is left of it, or nobody wants it: then a launch that was to prove it ends."""

        def work(connection: sqlite3.Connection) -> Deployment:
            now = rows.fresh(connection, row)
            replacement_rows.check_move(now, None)
            replacement_rows.cancel(connection, now)
            return rows.current(connection, row.key)

        return await self._database.write(work)

    async def change_options(
        self, row: Deployment, options: Options, merging: Merging | None, purpose: str
    ) -> Deployment:
        """Change the options of a deployment, for its launches or for the next ones.

        A deployment that failed or waits to try again is started at once. Its live launches keep those
        options that only another launch can have.

        Args:
            merging: whether requests are merged from now on.
            purpose: what was asked for, and by whom.

        Raises:
            IllegalTransition: the deployment has changed since it was read.
            Conflict: a replacement is under way, which has options of its own.
        """
        return await self._database.write(
            lambda c: new_options.change(c, row, options, merging, purpose)
        )


def _coming(row: Deployment) -> Launch:
    if row.coming is None:
        raise IllegalTransition(f"cannot go on with the replacement of {row.key}: no launch comes")
    return row.coming


def _replaced(row: Deployment) -> Launch | None:
    """The launch that gives its place to a new one."""
    return min(
        row.serving,
        key=lambda one: (_LEAST_SERVING.index(one.state), one.replica),
        default=None,
    )


def _switch(
    connection: sqlite3.Connection,
    row: Deployment,
    merging: Merging,
    memory: int | None,
    now: float,
    drain_until: float,
) -> Deployment:
    found = rows.fresh(connection, row)
    it, coming = it_of(found), _coming(found)
    if coming.state is not LaunchState.STARTING or coming.artifact != found.artifact:
        raise IllegalTransition(f"cannot replace a launch of {row.key}: it has changed")
    replacement_rows.move(connection, found, ReplacementState.ROLLING, "its first launch serves")
    replaced = _replaced(found)
    # First, since a place has one launch at a time.
    if replaced is not None and replaced.is_live:
        launch_rows.retire(connection, replaced, FINISHES, Step.DRAIN, drain_until)
    elif replaced is not None:
        launch_rows.delete(connection, replaced, 0.0)
    reason, number = f"replaced: {it.purpose}", replaced.replica if replaced else 0
    launch_rows.update(
        connection, coming,
        role=LaunchRole.SERVING, state=LaunchState.READY, replica=number, reason=reason, step=None,
        session=coming.launch_id, deadline=None, tries=0, kills=0, not_before=0.0, ready_since=now,
        ready_at=rows.now(),
    )  # fmt: skip
    rows.write_event(
        connection, row.key, found.state, State.READY, reason,
        launch_id=coming.launch_id, replica=number,
    )  # fmt: skip
    changed = rows.update(
        connection, row.key,
        rest=None, rest_reason="", rest_tries=0, options=rows.options_text(it.options),
        generation=coming.generation, replicas=new_options.clamped(found.replicas, it.options), parking="",
        merging=rows.merging_text(merging), memory=memory, proven=True,
    )  # fmt: skip
    for launch in changed.serving:
        if not launch.is_live:  # there is nothing of it that would have to be replaced
            launch_rows.renew(connection, changed, launch)
    return rows.current(connection, row.key)


#: Why a launch ends whose place another one has taken.
FINISHES = "it finishes its requests"


def _failed(connection: sqlite3.Connection, row: Deployment, reason: str) -> Deployment:
    """The replacement of a deployment as it was before has failed."""
    it, coming = it_of(row), row.coming
    replacement_rows.move(connection, row, ReplacementState.FAILED, reason)
    rows.write_event(
        connection, row.key, row.state, row.state, _failure(it.purpose, reason),
        launch_id=coming.launch_id if coming else None, replica=coming.replica if coming else None,
    )  # fmt: skip
    return rows.current(connection, row.key)


def _failure(purpose: str, reason: str) -> str:
    return f"{purpose} failed: {reason}"
