"""The overview at a moment, as HTML, and what differs between two of them."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from model_deployment.core.users import Role, User
from model_deployment.dashboard.activity import Activity
from model_deployment.dashboard.dependencies import Dependencies
from model_deployment.dashboard.device_troubles import device_troubles
from model_deployment.dashboard.endpoint_rows import endpoint_rows
from model_deployment.dashboard.facts import facts
from model_deployment.dashboard.flow_troubles import flow_troubles
from model_deployment.dashboard.not_ready_since import NotReadySince
from model_deployment.dashboard.overview import Known, Overview, overview
from model_deployment.dashboard.slow_checks import SlowChecks
from model_deployment.telemetry.prometheus import Snapshot

#: Seconds without a tick after which the control loop counts as stuck.
_STUCK_AFTER = 10.0


#: The text of a template, by its name and values.
Template = Callable[..., str]


@dataclass(frozen=True, slots=True)
class PageSnapshot:
    overview: Overview
    #: The HTML of each row, by name.
    rows: dict[str, str]
    facts: str
    #: The HTML of each endpoint's row, by name.
    endpoints: dict[str, str] = field(default_factory=dict)
    #: The HTML of each line of what needs attention, by name, in the order of the page.
    attention: dict[str, str] = field(default_factory=dict)
    #: The same, as callers may see it.
    public_attention: dict[str, str] = field(default_factory=dict)

    def seen_by(self, user: User | None) -> "PageSnapshot":
        """What the user may see of it."""
        if user is not None and user.may(Role.OPERATOR):
            return self
        return replace(self, attention=self.public_attention)


def render(overview: Overview, before: PageSnapshot | None, template: Template) -> PageSnapshot:
    """A snapshot of an overview; rows that are equal to those before are not rendered again."""
    old = before.overview if before else Overview({}, overview.facts)
    lines = _attention(overview)
    return PageSnapshot(
        overview,
        _rows("part_row", overview.rows, old.rows, before.rows if before else {}, template),
        template("part_facts", overview=overview),
        _rows(
            "part_endpoint_row",
            overview.endpoints,
            old.endpoints,
            before.endpoints if before else {},
            template,
        ),
        _rows(
            "part_attention",
            lines,
            _attention(old),
            before.attention if before else {},
            partial(template, public=False),
        ),
        _rows(
            "part_attention",
            lines,
            _attention(old),
            before.public_attention if before else {},
            partial(template, public=True),
        ),
    )


def _attention(overview: Overview) -> dict[str, object]:
    """All that needs attention, in the order of the page."""
    return {
        name: overview.rows.get(name) or overview.endpoints.get(name) or overview.troubles[name]
        for name in overview.arrangement.attention
    }


def _rows(
    part: str,
    rows: Mapping[str, object],
    old: Mapping[str, object],
    html: Mapping[str, str],
    template: Template,
) -> dict[str, str]:
    return {
        name: html[name] if old.get(name) == row else template(part, row=row)
        for name, row in rows.items()
    }


def changes(sent: PageSnapshot | None, now: PageSnapshot) -> dict[str, Any]:
    """What a page does not show yet; None stands for what has not changed.

    A row that the page shows already is sent as its lines that differ, by their numbers: most often only
    figures have changed.

    Args:
        sent: what the page shows; None for a page of unknown age.
    """
    rows, names = _changed(sent.rows if sent else None, now.rows)
    endpoints, endpoint_names = _changed(sent.endpoints if sent else None, now.endpoints)
    attention, urgent = _changed(sent.attention if sent else None, now.attention)
    order, counts = now.overview.arrangement, now.overview.counts
    return {
        "rows": rows,
        "names": names,
        "endpoints": endpoints,
        "endpointNames": endpoint_names,
        "attention": attention,
        "attentionNames": urgent,
        "order": asdict(order) if sent is None or sent.overview.arrangement != order else None,
        "counts": counts if sent is None or sent.overview.counts != counts else None,
        "facts": now.facts if sent is None or sent.facts != now.facts else None,
    }


def _changed(
    shown: Mapping[str, str] | None, now: Mapping[str, str]
) -> tuple[dict[str, str | dict[str, str]], list[str] | None]:
    """Rows that are not shown yet, and the names of all rows if others are shown, or in another order."""
    rows = {
        name: difference(shown.get(name) if shown else None, html)
        for name, html in now.items()
        if shown is None or shown.get(name) != html
    }
    # A page of unknown age may still show rows that are gone.
    return rows, list(now) if shown is None or list(shown) != list(now) else None


def difference(shown: str | None, html: str) -> str | dict[str, str]:
    """The lines that differ, by their numbers from 0; the whole text if it has more or fewer lines."""
    before, lines = (shown or "").split("\n"), html.split("\n")
    if shown is None or len(before) != len(lines):
        return html
    return {str(place): line for place, line in enumerate(lines) if line != before[place]}


class Snapshotter:
    """Takes one snapshot at a time, for all pages together."""

    def __init__(
        self,
        dependencies: Dependencies,
        checks: SlowChecks,
        activity: Activity,
        template: Template,
    ) -> None:
        self._dependencies = dependencies
        self._checks = checks
        self._activity = activity
        self._template = template
        self._since = NotReadySince(dependencies.events)
        self._lock = asyncio.Lock()
        #: Numbers of the snapshots that were started last, and completed last.
        self._started = self._completed = 0
        self.latest: PageSnapshot | None = None
        #: When the last snapshot was started, by the monotonic clock.
        self.taken_at = float("-inf")

    async def take(self) -> PageSnapshot:
        """A snapshot that was started after this call; calls that wait together share one."""
        started = self._started
        async with self._lock:
            if self.latest is None or self._completed <= started:
                self.latest = await self._take(self.latest)
            return self.latest

    async def _take(self, before: PageSnapshot | None) -> PageSnapshot:
        self._started = number = self._started + 1
        self.taken_at = time.monotonic()
        self._checks.start_if_due()
        seen = await self._dependencies.collect()
        found = await self._overview(seen)
        self._completed = number
        if before is not None and before.overview == found:
            return before
        return render(found, before, self._template)

    async def _overview(self, seen: Snapshot) -> Overview:
        checks, activity = self._checks, self._activity
        since = await self._since.of(one.row for one in seen.deployments)
        known = {
            key: Known(checks.errors.get(key), since.get(key))
            for key in (one.row.key for one in seen.deployments)
        }
        return overview(
            seen,
            activity,
            known,
            endpoint_rows(seen.endpoints),
            facts(seen, activity, checks.registry, checks.store, _STUCK_AFTER),
            datetime.now(UTC),
            {
                **flow_troubles(self._dependencies.flow_runs.known()),
                **device_troubles(seen.devices.projects),
            },
        )
