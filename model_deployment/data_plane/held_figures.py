"""Reads what the proxies hold for callers, and how many requests they refused, from the limits file."""

from collections import Counter
from pathlib import Path

from model_deployment.core.measures import HeldFigures
from model_deployment.proxy.held_bytes import REFUSED, HeldKind
from model_deployment.proxy.limits_file import living_columns


class HeldReader:
    """Adds up over proxies that come and go."""

    def __init__(self, path: Path, budget: int) -> None:
        """
        Args:
            path: the limits file.
            budget: bytes that the proxies may hold together.
        """
        self._path = path
        self._budget = budget
        self._refused: Counter[str] = Counter()
        #: What each proxy had refused at the last look, by its column and process.
        self._seen: dict[tuple[int, int, int], list[int]] = {}

    def figures(self) -> HeldFigures:
        """What is held now. A file that cannot be read has nothing."""
        try:
            columns = living_columns(self._path)
        except (OSError, ValueError):
            columns = {}
        held: Counter[str] = Counter({kind.name.lower(): 0 for kind in HeldKind})
        for process, words in columns.items():
            before = self._seen.get(process, [0] * len(HeldKind))
            refused = words[REFUSED : REFUSED + len(HeldKind)]
            for kind in HeldKind:
                held[kind.name.lower()] += words[kind]
                self._refused[kind.name.lower()] += max(0, refused[kind] - before[kind])
            self._seen[process] = refused
        self._seen = {process: seen for process, seen in self._seen.items() if process in columns}
        return HeldFigures(self._budget, dict(held), dict(self._refused))
