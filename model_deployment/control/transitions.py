"""Log lines of what has changed in a deployment."""

import logging

from model_deployment.control.adoption import log_fields
from model_deployment.core.domain import Deployment, Launch, LaunchRole, State

_log = logging.getLogger(__name__)


def log_changes(before: Deployment, after: Deployment) -> None:
    """Write a line for each launch that has another state, and one for a replacement that has."""
    it = after.replacement
    if it is not None and it != before.replacement:
        text = "replacement -> %s (%s): %s"
        _log.info(text, it.state, it.purpose, it.reason, extra=log_fields(after, after.coming))
    earlier = {one.id: one for one in before.launches}
    later = {one.id: one for one in after.launches}
    written = False
    for id in dict.fromkeys((*earlier, *later)):
        written |= _log_launch(after, earlier.get(id), later.get(id))
    if before.state is not after.state and not written:
        _log.log(_level(after), "%s -> %s: %s", before.state, after.state, after.reason,
                 extra=log_fields(after))  # fmt: skip


def _log_launch(row: Deployment, before: Launch | None, after: Launch | None) -> bool:
    """Whether there was something to write."""
    old: str
    new: str
    if before is not None and after is not None:
        if (before.state, before.launch_id) == (after.state, after.launch_id):
            return False
        old, new, reason, level = before.state, after.state, after.reason, logging.INFO
    elif before is not None:
        # The last replica of a deployment ends in the state in which the deployment rests.
        rests = before.role is LaunchRole.SERVING and row.rest is not None
        old, new = before.state, row.state if rests else "gone"
        reason, level = (row.reason, _level(row)) if rests else (before.reason, logging.INFO)
    elif after is not None:
        old, new, reason, level = "new", after.state, after.reason, logging.INFO
    else:
        return False
    named = after if after is not None and after.launch_id else before or after
    _log.log(level, "%s -> %s: %s", old, new, reason, extra=log_fields(row, named))
    return True


def _level(row: Deployment) -> int:
    return logging.WARNING if row.state is State.FAILED else logging.INFO
