"""The release that the controller named last: stored as it came, checked, and refused once where it may
not run."""

import hashlib
import json
import logging
from typing import Any

from model_deployment_agent import manifest, update_store
from model_deployment_agent.clock import Clock
from model_deployment_agent.database import Database, fact, set_fact
from model_deployment_agent.errors import AgentError, ReleaseRefused
from model_deployment_agent.folder import Identity
from model_deployment_agent.manifest import Manifest, Offer, number_of
from model_deployment_agent.update_rules import BEFORE_SWITCH, UpdateRow, Wanted

log = logging.getLogger(__name__)


class WantedRelease:
    """What is wanted, as far as it may run here."""

    def __init__(self, store: Database, clock: Clock, identity: Identity) -> None:
        self._store = store
        self._clock = clock
        self._identity = identity
        #: The text that was read last, and what it was: a signature is checked once.
        self._read: tuple[str, Manifest | ReleaseRefused] | None = None
        #: The controller has said since this agent runs what is wanted.
        self.fresh = False
        #: May run here; None: nothing is wanted, or it was refused.
        self.manifest: Manifest | None = None

    @property
    def wanted(self) -> Wanted | None:
        """For the rules."""
        return None if self.manifest is None else Wanted(self.manifest.number, self.manifest.folder)

    def offered(self, release: object) -> bool:
        """Store what the controller wants; whether it is something else than before.

        Raises:
            AgentError: it cannot be stored.
        """
        self.fresh = True
        with self._store.transaction() as connection:
            if update_store.wanted(connection) == release:
                return False
            update_store.want(connection, release)
        return True

    def offer_of(self, release: Manifest) -> Offer:
        """The signed offer that a manifest was read from.

        Raises:
            AgentError: something else is wanted meanwhile.
        """
        with self._store.transaction() as connection:
            found = update_store.wanted(connection)
        if self._opened(found).folder != release.folder:
            raise AgentError("something else is wanted meanwhile")
        return Offer.of(found)

    def look(self, current: str | None, row: UpdateRow | None, failed: frozenset[int]) -> bool:
        """Read what is wanted, and whether it may run here; a refusal is reported once.

        Returns: whether there is a new report.

        Args:
            current: folder of what serves.
            failed: numbers of releases that are not tried again.
        """
        with self._store.transaction() as connection:
            found = update_store.wanted(connection)
            highest, floor = update_store.highest(connection), update_store.not_before(connection)
        self.manifest = None
        if found is None:
            return False
        if current is not None:  # also where the store that knew the number broke
            highest = max(highest, number_of(current))
        accepted = row.folder if row is not None and row.stage in BEFORE_SWITCH else None
        try:
            release = self._opened(found)
            if release.number not in failed:
                manifest.check(
                    release,
                    project=self._identity.project,
                    highest=highest,
                    running={current, accepted},
                    now=max(self._clock.now(), floor),
                )
            self.manifest = release
        except ReleaseRefused as error:
            return self._refuse(found, str(error))
        return False

    def _opened(self, found: Any) -> Manifest:
        text = json.dumps(found)
        if self._read is None or self._read[0] != text:
            try:
                self._read = text, manifest.opened(Offer.of(found), self._identity.public)
            except ReleaseRefused as error:
                self._read = text, error
        if isinstance(self._read[1], ReleaseRefused):
            raise self._read[1]
        return self._read[1]

    def _refuse(self, found: Any, reason: str) -> bool:
        digest = hashlib.sha256(json.dumps(found).encode()).hexdigest()
        with self._store.transaction() as connection:
            if fact(connection, "refused") == digest:
                return False
            set_fact(connection, "refused", digest)
            log.error("%s", reason)
            # Nothing of it is trusted but for the report.
            number = _number(found)
            if number is not None:
                update_store.tell(connection, number, "refused", reason, self._clock.now())
        return True


def _number(found: Any) -> int | None:
    try:
        number = json.loads(found["manifest"])["number"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    return number if type(number) is int and 0 < number < 2**53 else None
