"""Whose this device is. What it knows of one controller and project says nothing of another: a number that
was the highest there would keep out each release here.
"""

import logging

from model_deployment_agent.database import Database, fact, set_fact
from model_deployment_agent.folder import Folder, Identity
from model_deployment_agent.release_folders import ReleaseFolders

log = logging.getLogger(__name__)

_TABLES = ("facts", "outbox", "windows", "commands", "command_values", "update_row", "failed")


def begin(store: Database, folder: Folder, folders: ReleaseFolders, identity: Identity) -> None:
    """Forget all of before, if the device was enrolled at another project or another key meanwhile.

    Raises:
        AgentError: it cannot be stored.
        OSError: the folder takes no changes.
    """
    owner = [identity.project, identity.key]
    with store.transaction() as connection:
        before = fact(connection, "owner")
    if before == owner:
        return
    if before is not None:
        log.warning(
            "the device belongs to the project %s now: releases, values and unsent messages "
            "of before are forgotten",
            identity.project,
        )
        folders.unlink("previous")
        folders.unlink("current")
        folder.values.unlink(missing_ok=True)
    with store.transaction() as connection:
        if before is not None:
            for table in _TABLES:
                connection.execute(f"DELETE FROM {table}")  # noqa: S608 - names of ours
        set_fact(connection, "owner", owner)
