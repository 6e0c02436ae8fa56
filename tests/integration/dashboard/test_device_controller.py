"""The pages and the metrics of devices of a whole controller: a device speaks, and they show it soon."""

import time
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.support.browser import Tab, expect
from tests.support.harness import Controller
from tests.support.looks import faults
from tests.support.waiting import until_sync

DEVICE = "/dashboard/projects/warehouse/devices/camera-7"
HOSTILE = "<img src=x onerror=alert(1)>"


def enrolled(controller: Controller) -> dict[str, str]:
    """The headers of a device that has registered."""
    code = controller.post("/warehouse/enrolments", 201, {"groups": ["canary"]})["code"]
    body = {"code": code, "device": "camera-7", "attributes": {"place": HOSTILE}}
    token = controller.post("/warehouse/registerDevice", 201, body)["token"]
    return {"Authorization": f"Bearer {token}"}


def sent() -> list[dict[str, Any]]:
    """A log and the last full minute, as a device sends them."""
    now = time.time()
    counts = {
        "release": 1, "model": "stub", "version": 1, "minute": int(now // 60) - 1, "requests": 70,
        "rows": 70, "errors": {}, "latencies": [[12, 70]],
    }  # fmt: skip
    at = int(1000 * now)
    line = {"at": at, "level": "error", "text": HOSTILE}
    return [
        {"seq": 1, "kind": "log", "at": at, "data": {"lines": [line]}},
        {"seq": 2, "kind": "metrics", "at": at, "data": counts},
    ]


def metrics(controller: Controller) -> dict[str, float]:
    """By name, and the values of labels in the order of their names."""
    text = controller.call("GET", "/metrics").text
    return {
        " ".join([one.name.removeprefix("model_deployment_"), *one.labels.values()]): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def test_what_a_device_sends_is_on_its_page_and_in_the_metrics(
    controller: Controller, tab: Tab
) -> None:
    controller.post("/projects", 201, {"name": "warehouse", "models": ["stub"]})
    headers = enrolled(controller)
    page = tab.page
    page.goto(f"{controller.url}{DEVICE}?window=1h")
    expect(page.locator("#facts")).to_contain_text("never")
    before = metrics(controller)
    assert before["devices never warehouse"] == 1
    body = {
        "agent": "0.1.0", "stream": "s", "running": None, "messages": sent(),
        "health": {"temperature": 51.5},
    }  # fmt: skip
    answer = controller.call("POST", "/warehouse/messages", json=body, headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"received": 2})
    expect(page.locator("#facts")).to_contain_text("online")
    expect(page.locator("#more")).to_contain_text("51.5 °C")
    expect(page.locator("#lines")).to_contain_text(HOSTILE)
    # The document store has the minute a moment later.
    expect(page.locator("#traffic figcaption").first).to_contain_text("70 requests")
    until_sync(
        lambda: metrics(controller)["device_messages_waiting"] == 0, what="the document store"
    )
    found = metrics(controller)
    assert (found["devices online warehouse"], found["devices_running warehouse 0"]) == (1, 1)
    assert found["device_messages_total"] - before["device_messages_total"] == 2
    assert found["device_sockets"] == 0
    assert found["release_number warehouse"] == 0
    assert not (trouble := faults(page, "a device")), trouble
    assert tab.trouble == []
