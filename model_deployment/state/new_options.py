"""Other options without a launch that proves them first; within the transaction of the caller."""

import sqlite3
from dataclasses import replace

from model_deployment.core.domain import Deployment, State
from model_deployment.core.errors import IllegalTransition
from model_deployment.core.merging import Merging
from model_deployment.core.option_changes import measured_alike, needs_launch
from model_deployment.core.options import Options
from model_deployment.core.replacement import ReplacementState
from model_deployment.state import launch_rows, replacement_rows, rows, wanting
from model_deployment.state.replacement_rows import it_of


def clamped(replicas: int, options: Options) -> int:
    """The number of replicas that the options allow, next to this one."""
    return max(options.replicas.min, min(replicas, options.replicas.max))


def hand_over(connection: sqlite3.Connection, row: Deployment) -> Deployment:
    found = rows.fresh(connection, row)
    it = it_of(found)
    if not it.waits_for_stop or any(one.is_live for one in found.serving):
        raise IllegalTransition(f"cannot give {row.key} the options of its replacement now")
    replacement_rows.move(
        connection, found, ReplacementState.ROLLING, "the launches before it ended"
    )
    changed = rows.update(
        connection, row.key,
        options=rows.options_text(it.options), generation=found.generation + 1, merging=None,
        replicas=clamped(found.replicas, it.options),
        memory=found.memory if measured_alike(found, it.options, found.artifact) else None,
    )  # fmt: skip
    return _start_again(connection, changed, it.purpose)


def _start_again(connection: sqlite3.Connection, row: Deployment, purpose: str) -> Deployment:
    """Start a deployment without live launches at once, with what it has by now."""
    if row.rest is not None:
        return wanting.begin(connection, row, purpose)
    for launch in row.serving:
        launch_rows.renew(connection, row, launch, reason=purpose, tries=0, kills=0, not_before=0.0)
    rows.note(connection, row, purpose)
    return rows.current(connection, row.key)


def change(
    connection: sqlite3.Connection,
    row: Deployment,
    options: Options,
    merging: Merging | None,
    purpose: str,
) -> Deployment:
    now = replacement_rows.changeable(connection, row)
    replacement_rows.forget_failure(connection, now)
    others = bool(needs_launch(now, options))
    changed = rows.update(
        connection, row.key,
        options=rows.options_text(options), generation=now.generation + others,
        replicas=clamped(now.replicas, options), merging=rows.merging_text(merging),
        memory=now.memory if measured_alike(now, options, now.artifact) else None,
    )  # fmt: skip
    if now.state is State.FAILED or (now.serving and not any(one.is_live for one in now.serving)):
        return _start_again(connection, changed, purpose)
    for launch in changed.serving:
        if not launch.is_live:
            launch_rows.renew(connection, changed, launch)
        elif launch.generation == now.generation and not others:
            launch_rows.update(connection, launch, options=rows.options_text(options))
        else:
            known = rows.options_text(_at_once(launch.options, options))
            launch_rows.update(connection, launch, options=known)
    rows.note(connection, changed, purpose)
    return rows.current(connection, row.key)


def _at_once(launch: Options, options: Options) -> Options:
    """The options of a launch with those of others that apply without another launch."""
    declared = Options.declarations().items()
    applied = {name: getattr(options, name) for name, one in declared if one.applies_at_once}
    return replace(launch, **applied)
