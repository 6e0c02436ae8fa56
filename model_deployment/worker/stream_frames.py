"""The frames of a stream, as the server of a fork writes them: server-sent events, one JSON value in each.

They are those of MLflow's agent server (``mlflow.genai.agent_server``): ``data: <JSON>`` and an empty line
for each value, and ``data: [DONE]`` as the last one. A stream that fails ends with an event of the name
``failure`` instead, which is meant for the proxy: it says what the answer would have been, had nothing been
sent yet. A model cannot write it, since each of its values is one line behind ``data:``.
"""

from __future__ import annotations

import json
from typing import Any

MEDIA_TYPE = b"text/event-stream"
#: Ends each frame.
END = b"\n\n"
#: The last frame of a stream that is complete.
DONE = b"data: [DONE]" + END
DATA = b"data: "
FAILURE = b"event: failure\ndata: "


def failure_frame(status: int, content: bytes, fault: bytes = b"") -> bytes:
    """The last frame of a stream that failed.

    Args:
        status: of the answer that it would have been.
        content: the body of that answer.
        fault: its header, see ``failure_header``.
    """
    told = {
        "status": status,
        "content": content.decode(errors="replace"),
        "fault": fault.decode("latin-1"),
    }
    return FAILURE + json.dumps(told).encode() + END


def read_failure(frame: bytes) -> tuple[int, bytes, bytes] | None:
    """The inverse of :func:`failure_frame`, without its end; None for any other frame."""
    if not frame.startswith(FAILURE):
        return None
    told: dict[str, Any] = json.loads(frame.removeprefix(FAILURE))
    return told["status"], told["content"].encode(), told["fault"].encode("latin-1")
