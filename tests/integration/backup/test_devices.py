"""A device whose controller is restored from a backup goes on with its token, its key and its messages."""

import time
from pathlib import Path
from typing import Any

from tests.integration.backup.test_backup import command, lose
from tests.support.harness import Controller, Controllers


class Camera:
    """A device that sends over HTTP, as docs/reference/device-protocol.md says."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        made = controller.post("/halls/enrolments", 201, {"device": "camera"})
        body = {"code": made["code"], "device": "camera"}
        registered = controller.post("/halls/registerDevice", 201, body)
        self.key = registered["key"]
        self._headers = {"Authorization": f"Bearer {registered['token']}"}
        self.code = made["code"]

    def send(self, stream: str, *messages: tuple[int, str]) -> int:
        """Send numbered lines of the log; the number of the last message that is stored."""
        now = int(time.time() * 1000)
        body = {"agent": "1.0.0", "stream": stream, "running": None, "messages": [
            {"seq": seq, "kind": "log", "at": now,
             "data": {"lines": [{"at": now, "level": "info", "text": text}]}}
            for seq, text in messages
        ]}  # fmt: skip
        answer = self._controller.call("POST", "/halls/messages", json=body, headers=self._headers)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["received"])

    def lines(self) -> list[str]:
        """The log, oldest first."""
        found: list[dict[str, Any]] = self._controller.get("/halls/devices/camera/logs")
        return [line["text"] for line in found]


def test_a_device_goes_on_after_a_restore(controllers: Controllers, tmp_path: Path) -> None:
    controller = controllers().up()
    controller.post("/projects", 201, {"name": "halls", "models": ["stub"]})
    camera = Camera(controller)
    assert camera.send("s", (1, "a"), (2, "b")) == 2
    unused = controller.post("/halls/enrolments", 201, {})["code"]
    archive = tmp_path / "backup.tar.gz"
    assert "release.key" in command(controller, "backup", str(archive))
    assert camera.send("s", (3, "since the backup")) == 3

    controller.kill()
    lose(controller)
    (controller.data / "release.key").unlink()
    command(controller, "restore", str(archive), "--force")
    assert (controller.data / "release.key").stat().st_mode & 0o777 == 0o600
    controller.up()

    assert camera.lines() == ["a", "b"]
    # What was acknowledged after the backup is gone: the device begins a new stream.
    assert camera.send("s", (4, "c")) == 2
    assert camera.send("t", (1, "c"), (2, "d")) == 2
    assert camera.lines() == ["a", "b", "c", "d"]
    again = controller.post("/halls/enrolments", 201, {"device": "camera"})
    assert again["code"].partition(".")[2] == camera.code.partition(".")[2]
    # It may have been used since the backup.
    refused = controller.call(
        "POST", "/halls/registerDevice", json={"code": unused, "device": "other"}
    )
    assert refused.status_code == 403
