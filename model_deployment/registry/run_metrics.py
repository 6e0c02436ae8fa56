"""Finds the metrics of many runs at once, and remembers those of runs that have ended.

MLflow has no call for the metrics of versions. Asking for each run takes seconds for a few hundred
versions; a search returns a hundred runs at a time, but needs their experiment. So a few runs are requested
first, the others are searched for in the experiments of these, and the rest is requested one by one.
"""

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from model_deployment.registry.errors import found_or_none
from model_deployment.registry.threads import in_time

#: Concurrent calls, and runs in one search.
_THREADS, _BATCH = 8, 100
#: Rounds of searching, as runs may lie in several experiments; fewer runs than this are not searched for.
_ROUNDS, _FEW = 4, 8
#: Runs that are requested before a search, and the share of the time for that.
_PROBES, _PROBES_PART = 3, 0.3
#: Seconds that metrics of an ended run are remembered: more may be logged later.
_REMEMBERED = 300.0
#: Runs that are remembered.
_ENTRIES = 10_000
#: Deleted runs too (mlflow.entities.ViewType.ALL).
_ALL_RUNS = 3
_ENDED = frozenset({"FINISHED", "FAILED", "KILLED"})
#: The tag that MLflow's client gives each run.
_USER_TAG = "mlflow.user"
_LOGGED_MODEL = re.compile(r"models:/(m-[A-Za-z0-9-]+)/?", re.ASCII)


def logged_model(version: Any) -> str:
    """The id of the logged model of a version. The open-source registry has the id in the source only."""
    if getattr(version, "model_id", None):
        return str(version.model_id)
    found = _LOGGED_MODEL.fullmatch(getattr(version, "source", None) or "")
    return found[1] if found else ""


def newest_last(model: Any) -> list[Any]:
    """The metrics of a logged model; a metric may have been logged several times."""
    return sorted(model.metrics or [], key=lambda one: (one.timestamp, one.step or 0))


def user_of(run: Any) -> str:
    """The user who ran a run; empty if MLflow does not know."""
    tags = getattr(run.data, "tags", None) or {}
    user = tags.get(_USER_TAG) or getattr(run.info, "user_id", None) or ""
    return "" if user == "unknown" else str(user)


class RunMetrics:
    """Finds the metrics of versions. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: By the id of a run or of a logged model: metrics, and when they expire.
        self._known: OrderedDict[str, tuple[Mapping[str, float], float]] = OrderedDict()
        self._forgotten = 0
        #: By the id of a run; never changes.
        self._users: OrderedDict[str, str] = OrderedDict()

    def user(self, run_id: str | None) -> str:
        """The user of a run whose metrics were found; empty if unknown."""
        with self._lock:
            return self._users.get(run_id or "", "")

    def of(self, client: Any, versions: Sequence[Any], end: float) -> list[dict[str, float] | None]:
        """The metrics of each version's run, or of its logged model where it has no run.

        Args:
            client: MLflow's.
            versions: MLflow's objects.
            end: on the monotonic clock; metrics that are late are None.
        """
        sources = [version.run_id or logged_model(version) for version in versions]
        found: dict[str, Mapping[str, float]] = {"": {}}
        with self._lock:
            now, before = time.monotonic(), self._forgotten
            for source in sources:
                if source in self._known and self._known[source][1] > now:
                    found[source] = self._known[source][0]
                    self._known.move_to_end(source)
        runs = {version.run_id for version in versions if version.run_id} - found.keys()
        users: dict[str, str] = {}
        wanted = [run for run in dict.fromkeys(sources) if run in runs]
        ended = _find_runs(client, wanted, found, users, end)
        models = [*dict.fromkeys(one for one in sources if one not in found and one not in runs)]
        asked = in_time(partial(_metrics_of_model, client), models, threads=_THREADS, end=end)
        of_models = {id: got for id, got in zip(models, asked, strict=True) if got is not None}
        found |= of_models
        self._remember({**{id: found[id] for id in ended}, **of_models}, users, before)
        return [dict(found[one]) if one in found else None for one in sources]

    def forget(self, id: str) -> None:
        """Forget a run or logged model, because metrics were written to it."""
        with self._lock:
            self._forgotten += 1
            self._known.pop(id, None)

    def _remember(
        self, metrics: Mapping[str, Mapping[str, float]], users: Mapping[str, str], before: int
    ) -> None:
        until = time.monotonic() + _REMEMBERED
        with self._lock:
            self._users |= users
            while len(self._users) > _ENTRIES:
                self._users.popitem(last=False)
            if self._forgotten != before:
                return  # some may have been read before a write
            for id, found in metrics.items():
                self._known[id] = (found, until)
                self._known.move_to_end(id)
            while len(self._known) > _ENTRIES:
                self._known.popitem(last=False)


def _find_runs(
    client: Any,
    wanted: Sequence[str],
    found: dict[str, Mapping[str, float]],
    users: dict[str, str],
    end: float,
) -> set[str]:
    """Add the metrics of runs to ``found``, and their users; returns the ids of runs that have ended."""
    ended: set[str] = set()
    asked: set[str] = set()

    def add(runs: Iterable[Any]) -> int:
        before = len(found)
        for run in runs:
            found[run.info.run_id] = dict(run.data.metrics)
            users[run.info.run_id] = user_of(run)
            if run.info.status in _ENDED:
                ended.add(run.info.run_id)
        return len(found) - before

    def ask(some: Sequence[str], limit: float) -> list[Any]:
        asked.update(some)
        # Earlier calls may still occupy threads.
        threads = _PROBES if len(some) <= _PROBES else _THREADS - _PROBES
        answers = in_time(partial(_run, client), some, threads=threads, end=limit)
        for id, answer in zip(some, answers, strict=True):
            if answer is _NONE:
                found[id] = {}
                ended.add(id)
        runs = [answer for answer in answers if answer is not None and answer is not _NONE]
        add(runs)
        return runs

    def missing() -> list[str]:
        return [id for id in wanted if id not in found and id not in asked]

    for _ in range(_ROUNDS):
        if len(rest := missing()) <= _FEW:
            break
        now = time.monotonic()
        probes = ask(rest[:_PROBES], now + _PROBES_PART * (end - now))
        places = sorted({run.info.experiment_id for run in probes})
        search = partial(_search, client, places)
        rest = missing() if places else []
        batches = [rest[at : at + _BATCH] for at in range(0, len(rest), _BATCH)]
        pages = in_time(search, batches, threads=_THREADS, end=end)
        if not add(run for page in pages if page for run in page):
            break
    # Again for those that were late in their share of the time.
    ask([id for id in wanted if id not in found], end)
    return ended


#: Stands for a run that was deleted for good.
_NONE = object()


def _run(client: Any, id: str) -> Any:
    return found_or_none(client.get_run, id) or _NONE


def _search(client: Any, experiments: Sequence[str], ids: Sequence[str]) -> list[Any]:
    listed = ",".join(f"'{id}'" for id in ids)
    found = client.search_runs(
        [*experiments],
        filter_string=f"attributes.run_id IN ({listed})",
        run_view_type=_ALL_RUNS,
        max_results=len(ids),
    )
    return [*found]


def _metrics_of_model(client: Any, id: str) -> dict[str, float]:
    model = found_or_none(client.get_logged_model, id)
    return {metric.key: metric.value for metric in newest_last(model)} if model else {}
