"""Carries what devices have measured and captured from the state database to the document store.

Documents have ids of their own, so that a second write changes nothing; a message is removed when the store
has all of it. While the store is away, messages wait; beyond a limit devices keep them
(``document_backlog.py``).
"""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from model_deployment.core.device_messages import StoredMessage
from model_deployment.devices.document_backlog import CARRIED, DocumentBacklog
from model_deployment.devices.stored_documents import (
    collection_of,
    dead_letter,
    documents_of,
    unreadable,
)
from model_deployment.documents.base import Collection, Documents, Query, StoreUnavailable
from model_deployment.documents.owner_view import DocumentSource
from model_deployment.recording.erasures import erased_ids
from model_deployment.state.database import DatabaseError
from model_deployment.state.device_messages import MessageStore

_log = logging.getLogger(__name__)

#: Messages of one write.
_BATCH = 32
#: Seconds between looks without a sign that there is something.
_LOOK = 5.0
#: Seconds between tries while the store is away, growing.
_PAUSE, _LONGEST_PAUSE = 0.5, 10.0

Made = dict[Collection, list[dict[str, Any]]]


class DeviceDelivery:
    def __init__(
        self,
        messages: MessageStore,
        store: DocumentSource,
        backlog: DocumentBacklog,
        carried: asyncio.Event,
        *,
        instance: str,
    ) -> None:
        """
        Args:
            carried: set when there is something to carry.
            instance: names the controller's data directory.
        """
        self._messages = messages
        self._store = store
        self._backlog = backlog
        self._carried = carried
        self._instance = instance
        #: Why nothing can be carried now; empty if it can.
        self.error = ""

    async def run(self) -> None:
        """Carry until cancelled."""
        pause, counted = _PAUSE, False
        while True:
            try:
                if not counted:
                    self._backlog.grew(await self._messages.waiting_bytes())
                    counted = True
                self._carried.clear()
                while await self.step():
                    pass
                self._note("")
                pause = _PAUSE
            except (StoreUnavailable, DatabaseError) as error:
                self._note(str(error) or "it does not answer")
                await asyncio.sleep(pause)
                pause = min(_LONGEST_PAUSE, 2 * pause)
                continue
            except Exception as error:
                _log.exception("cannot carry what devices have sent")
                self._note(repr(error))
                await asyncio.sleep(_LONGEST_PAUSE)
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._carried.wait(), _LOOK)

    async def step(self) -> bool:
        """Carry one batch; False if it was the last one.

        Raises:
            StoreUnavailable, DatabaseError: nothing is lost; the next call carries the same batch.
        """
        batch = await self._messages.pending(CARRIED, _BATCH)
        if not batch:
            self._backlog.bytes = 0
            return False
        made, letters, size = await asyncio.to_thread(self._made, batch)
        await _write(await self._store.opened(), made, letters)
        await self._messages.remove([one.id for one in batch])
        self._backlog.shrank(size)
        return len(batch) == _BATCH

    def _made(self, batch: Sequence[StoredMessage]) -> tuple[Made, list[dict[str, Any]], int]:
        """The documents of messages, the dead letters of those that have none, and their bytes."""
        made: Made = defaultdict(list)
        letters = []
        for message in batch:
            try:
                documents = documents_of(message, self._instance)
            except (LookupError, TypeError, ValueError, ArithmeticError) as error:
                # Any failure would repeat with each try, and stop the delivery.
                bare = unreadable(message, self._instance)
                letters.append(dead_letter(bare, repr(error), message.received_at))
            else:
                made[collection_of(message.kind)] += documents
        return made, letters, sum(len(str(one.data)) for one in batch)

    def _note(self, error: str) -> None:
        if bool(error) != bool(self.error):
            level = logging.WARNING if error else logging.INFO
            _log.log(
                level, "document store, for what devices have sent: %s", error or "answers again"
            )
        self.error = error


async def _write(store: Documents, made: Made, letters: list[dict[str, Any]]) -> None:
    """Write all documents, or raise. As in ``recording/drain.py``, erased requests are left out."""
    erased = await erased_ids(store, made.values())
    for collection, documents in made.items():
        kept = [one for one in documents if one["_id"] not in erased]
        written = await store.insert(collection, kept)
        if written.refused:
            by_id = {one["_id"]: one for one in kept}
            letters += [
                dead_letter(by_id[id], reason, by_id[id]["ts"])
                for id, reason in written.refused.items()
            ]
    if letters:
        outcome = await store.insert(Collection.DEAD_LETTERS, letters)
        _log.warning("cannot store %s documents of devices: %s", len(letters), letters[0]["reason"])
        if outcome.refused:
            _log.error("%s documents of devices are lost: refused", len(outcome.refused))
    # Also requests that were erased during this write: an erasure is stored before it deletes.
    if late := [*await erased_ids(store, made.values())]:
        for collection in (*made, Collection.DEAD_LETTERS):
            await store.delete(Query(collection, ids=late))
