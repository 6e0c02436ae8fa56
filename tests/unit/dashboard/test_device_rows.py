"""Which devices a page lists, and how it says what devices say of themselves."""

import math
from dataclasses import replace

import pytest

from model_deployment.core.devices import DeviceUpdate, Presence, UpdateState
from model_deployment.dashboard.device_rows import (
    ROWS,
    DeviceFilter,
    device_page,
    groups_of,
    health_value,
    presences,
    running_of,
    update_text,
)
from model_deployment.dashboard.device_text import plain, value
from model_deployment.devices.views import DeviceView
from model_deployment.rendering import numbers
from tests.support.memory_devices import device, update


def views(count: int) -> list[DeviceView]:
    return [
        DeviceView(device(number), "warehouse", Presence.ONLINE, 3)
        for number in range(1, count + 1)
    ]


def names(wanted: DeviceFilter, found: list[DeviceView]) -> list[str]:
    return [one.device.name for one in device_page(found, wanted, 1).rows]


def test_devices_are_listed_in_natural_order_a_page_at_a_time() -> None:
    found = views(2 * ROWS + 5)[::-1]
    pages = [device_page(found, DeviceFilter(), number) for number in (1, 2, 3)]
    shown = [one.device.name for page in pages for one in page.rows]
    assert shown == [f"camera-{number}" for number in range(1, 2 * ROWS + 6)]
    assert [(page.first, len(page.rows), page.pages) for page in pages] == [
        (1, ROWS, 3), (ROWS + 1, ROWS, 3), (2 * ROWS + 1, 5, 3),
    ]  # fmt: skip


@pytest.mark.parametrize(("asked", "shown"), [(0, 1), (-5, 1), (9, 2)])
def test_page_that_is_not_there_is_the_nearest_one(asked: int, shown: int) -> None:
    assert device_page(views(ROWS + 1), DeviceFilter(), asked).number == shown


def test_page_without_devices_is_the_first_of_one() -> None:
    page = device_page([], DeviceFilter(search="x"), 3)
    assert (page.number, page.pages, page.first, page.found) == (1, 1, 0, 0)


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        (DeviceFilter(), ["camera-1", "camera-2", "camera-3", "camera-4"]),
        (DeviceFilter(search=" CAMERA-2 "), ["camera-2"]),
        (DeviceFilter(search="hall 3"), ["camera-3"]),
        (DeviceFilter(search="canary"), ["camera-1", "camera-2"]),
        (DeviceFilter(search="no room left"), ["camera-4"]),
        (DeviceFilter(search="elsewhere"), []),
        (DeviceFilter(group="canary"), ["camera-1", "camera-2"]),
        (DeviceFilter(group="can"), []),
        (DeviceFilter(presence="offline"), ["camera-2"]),
        (DeviceFilter(release="2"), ["camera-1", "camera-2", "camera-4"]),
        (DeviceFilter(release="none"), ["camera-3"]),
        (DeviceFilter(release="failed"), ["camera-4"]),
        (DeviceFilter(group="canary", presence="offline"), ["camera-2"]),
        (DeviceFilter(group="canary", release="none"), []),
    ],
)
def test_filters_take_the_devices_that_they_name(wanted: DeviceFilter, shown: list[str]) -> None:
    found = views(4)
    found[1] = replace(found[1], presence=Presence.OFFLINE)
    found[2] = replace(found[2], device=replace(found[2].device, running=None))
    found[3] = replace(
        found[3], update=update(4, UpdateState.REFUSED, reason="no room left on the disk")
    )
    assert names(wanted, found) == shown


def test_address_of_a_page_keeps_the_filters() -> None:
    wanted = DeviceFilter(search="a&b", group="canary", release="3")
    assert wanted.address(2) == "search=a%26b&group=canary&release=3&page=2"
    assert DeviceFilter().address(1) == ""


def test_choices_of_filters_are_what_there_is() -> None:
    found = views(3)
    found[0] = replace(found[0], device=replace(found[0].device, groups=("hall-10", "hall-9")))
    found[1] = replace(found[1], device=replace(found[1].device, running=7))
    found[2] = replace(found[2], presence=Presence.REVOKED)
    assert groups_of(found) == ["canary", "hall-9", "hall-10"]
    assert running_of(found) == [7, 2]
    assert presences(found) == {
        Presence.NEVER: 0, Presence.ONLINE: 2, Presence.OFFLINE: 0, Presence.REVOKED: 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (None, ""),
        (update(1, UpdateState.DOWNLOADING, bytes=1_500_000, of=4_000_000), "38 % of 4 MB"),
        (update(1, UpdateState.DOWNLOADING, bytes=9, of=4), "100 % of 4 B"),
        (update(1, UpdateState.DOWNLOADING, reason="waits"), "waits"),
        (update(1, UpdateState.FAILED, reason="x" * 900), "x" * 199 + "…"),
    ],
)
def test_progress_is_said_in_words(given: DeviceUpdate | None, text: str) -> None:
    assert update_text(given) == text


@pytest.mark.parametrize(
    ("name", "given", "text"),
    [
        ("memory", 41_000_000, "39 MB"),
        ("memory", 0.4, "40 %"),
        ("disk_free", 5 * 1024**3, "5.0 GB"),
        ("memory", -1, "-1"),
        ("temperature", 51.5, "51.5 °C"),
        ("temperature", math.nan, numbers.NONE),
        ("temperature", math.inf, numbers.NONE),
        ("load", 1.25, "1.25"),
        ("on", True, "true"),
        ("state", "a\u202eb", "a\ufffdb"),
    ],
)
def test_health_has_the_units_that_its_names_tell(name: str, given: object, text: str) -> None:
    assert health_value(name, given) == text


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines\tand a tab", "two lines and a tab"),
        ("\x1b[31mred\x00", "\ufffd[31mred\ufffd"),
        ("right\u202eto left\u200b", "right\ufffdto left\ufffd"),
        ("x" * 20, "x" * 9 + "…"),
        ("0123456789", "0123456789"),
    ],
)
def test_text_of_devices_is_one_line_without_tricks(given: str, shown: str) -> None:
    assert plain(given, 10 if "\n" not in given and len(given) in (10, 20) else 300) == shown


@pytest.mark.parametrize(
    ("given", "shown"),
    [(True, "true"), ({"a": "ä"}, '{"a": "ä"}'), ("text", "text"), (None, "null")],
)
def test_values_of_devices_are_json(given: object, shown: str) -> None:
    assert value(given) == shown
