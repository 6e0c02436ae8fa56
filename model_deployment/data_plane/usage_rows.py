"""Gives each deployment a row in the table of shared limits, see :mod:`model_deployment.proxy.limits_file`.

Proxies outlive controllers, so the rows do too: they are noted in a file.
"""

import json
import logging
import zlib
from collections.abc import Iterable
from pathlib import Path

from model_deployment.core.names import ModelKey
from model_deployment.proxy.limits_file import ROWS

_log = logging.getLogger(__name__)


class UsageRows:
    def __init__(self, path: Path) -> None:
        """Read the rows that an earlier controller gave; a file that is lost or damaged has none."""
        self._path = path
        self._rows: dict[str, int] = {}
        self._next = 0
        try:
            noted = json.loads(path.read_text(encoding="utf-8"))
            self._rows = {str(key): int(row) % ROWS for key, row in noted.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return
        self._next = max(self._rows.values(), default=-1) + 1

    def assign(self, keys: Iterable[ModelKey]) -> dict[ModelKey, int]:
        """The rows of these deployments; the rows of all others are free from now on.

        A row that was freed is used again as late as possible: a proxy may not know yet that it is free.
        """
        wanted = {str(key): key for key in keys}
        kept = {name: row for name, row in self._rows.items() if name in wanted}
        taken = {*kept.values()}
        for name in wanted.keys() - kept.keys():
            kept[name] = self._free_row(name, taken)
            taken.add(kept[name])
        if kept != self._rows:
            self._rows = kept
            self._note()
        return {key: kept[name] for name, key in wanted.items()}

    def _free_row(self, name: str, taken: set[int]) -> int:
        if len(taken) >= ROWS:  # then some deployments have their limits in common
            return zlib.crc32(name.encode()) % ROWS
        while self._next % ROWS in taken:
            self._next += 1
        row = self._next % ROWS
        self._next += 1
        return row

    def _note(self) -> None:
        draft = self._path.with_suffix(".new")
        try:
            draft.write_text(json.dumps(self._rows), encoding="utf-8")
            draft.replace(self._path)
        except OSError as error:  # the next controller may mix up what two deployments use
            _log.warning("cannot write %s: %s", self._path, error.strerror)
