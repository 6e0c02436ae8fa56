"""What pages hear of a controller that has nothing to tell."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from model_deployment.dashboard import hub
from model_deployment.dashboard.hub import Drawing, Hub


class Idle(Hub):
    """Sees nothing."""

    async def _look(self) -> Any:
        return None

    def _since(self, heard: int) -> bytes:
        return b"event: change\n\n"


async def test_the_heartbeat_is_an_event_that_scripts_hear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_HEARTBEAT", 0.01)
    parts = cast("Any", SimpleNamespace(controller=SimpleNamespace(closing=False)))
    heard = Idle(parts, Drawing(row=str, facts=str), "build").events()
    assert await anext(heard) == b"retry: 1000\n\n"
    beat = await anext(heard)
    if beat == b"event: change\n\n":
        beat = await anext(heard)
    # Browsers give listeners an event with a name and with data, and no comment.
    assert beat.startswith(b"event: alive\ndata")
    assert beat.endswith(b"\n\n")
    await heard.aclose()  # type: ignore[attr-defined]
