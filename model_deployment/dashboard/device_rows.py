"""The devices of a project as a page lists them: those that are wanted, and a page of these. Pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from model_deployment.core.devices import UNSUCCESSFUL, DeviceUpdate, Presence, UpdateState
from model_deployment.dashboard.device_text import plain, value
from model_deployment.devices.views import DeviceView
from model_deployment.rendering import numbers
from model_deployment.rendering.natural_order import natural

#: Devices of one page.
ROWS = 100
#: What a filter by release is called for devices that run none, and for those whose update failed.
NONE, FAILED = "none", "failed"


@dataclass(frozen=True, slots=True)
class DeviceFilter:
    """Which devices a page shows, as its address says. Empty members let all through."""

    search: str = ""
    group: str = ""
    presence: str = ""
    #: Number of the release that they run, :data:`NONE` or :data:`FAILED`.
    release: str = ""

    def takes(self, view: DeviceView) -> bool:
        """Whether it shows a device."""
        return (
            (not self.group or self.group in view.device.groups)
            and (not self.presence or self.presence == view.presence)
            and (not self.release or self._runs(view))
            and (not self.search.strip() or self.search.strip().lower() in _text(view))
        )

    def _runs(self, view: DeviceView) -> bool:
        if self.release == FAILED:
            return view.update is not None and view.update.state in UNSUCCESSFUL
        return self.release == str(view.device.running or NONE)

    def address(self, page: int) -> str:
        """The query of a page's address."""
        found = {
            "search": self.search,
            "group": self.group,
            "presence": self.presence,
            "release": self.release,
            "page": str(page) if page > 1 else "",
        }
        return urlencode({name: given for name, given in found.items() if given})


@dataclass(frozen=True, slots=True)
class DevicePage:
    """A page of the devices that were wanted."""

    rows: Sequence[DeviceView]
    #: From 1.
    number: int
    pages: int
    #: Devices that were wanted, and all of them.
    found: int
    total: int

    @property
    def first(self) -> int:
        """Place of the first row among those found, from 1; 0 without any."""
        return (self.number - 1) * ROWS + 1 if self.rows else 0


def device_page(views: Sequence[DeviceView], wanted: DeviceFilter, page: int) -> DevicePage:
    """A page of those that are wanted, by name; the last page if there are not so many."""
    found = sorted(filter(wanted.takes, views), key=lambda one: natural(one.device.name))
    pages = max(1, -(-len(found) // ROWS))
    number = min(max(1, page), pages)
    rows = found[(number - 1) * ROWS : number * ROWS]
    return DevicePage(rows, number, pages, len(found), len(views))


def _text(view: DeviceView) -> str:
    """What a search looks into."""
    device = view.device
    said = " ".join(f"{name} {value(one, 100)}" for name, one in device.attributes.items())
    reason = view.update.reason if view.update else ""
    return f"{device.name} {' '.join(device.groups)} {said} {reason}".lower()


def groups_of(views: Iterable[DeviceView]) -> list[str]:
    """All groups, in natural order."""
    return sorted({group for one in views for group in one.device.groups}, key=natural)


def running_of(views: Iterable[DeviceView]) -> list[int]:
    """The numbers of releases that devices run, newest first."""
    return sorted({one.device.running for one in views if one.device.running}, reverse=True)


def presences(views: Iterable[DeviceView]) -> dict[Presence, int]:
    """Devices by presence."""
    found = dict.fromkeys(Presence, 0)
    for one in views:
        found[one.presence] += 1
    return found


def update_text(update: DeviceUpdate | None) -> str:
    """How far a device is with the release that it should run, beside the name of its state."""
    if update is None:
        return ""
    if update.state is UpdateState.DOWNLOADING and update.of > 0:
        share = min(1.0, update.bytes / update.of)
        return f"{numbers.percent(share)} of {numbers.size(update.of)}"
    return plain(update.reason, 200)


def health_value(name: str, found: object) -> str:
    """A value with its unit, where the name tells it; memory and disk are bytes, or a share of 0 to 1."""
    if isinstance(found, bool) or not isinstance(found, int | float):
        return value(found, 80)
    if not math.isfinite(found):
        return numbers.NONE
    if name == "temperature":
        return f"{numbers.number(found)} °C"
    if name.startswith(("memory", "disk")) and found >= 0:
        return (
            numbers.percent(found)
            if isinstance(found, float) and found <= 1
            else numbers.size(found)
        )
    return numbers.number(found)
