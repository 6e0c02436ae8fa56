"""The answer of a candidate to the copy of a live request: its document in the store.

It is no capture: nobody got the answer, and nothing that reads captures or counts requests sees it. The
capture of the champion's answer has the same request id, and the inputs.
"""

from datetime import UTC, datetime
from typing import Any

from model_deployment.gate import MalformedJson
from model_deployment.recording.capture import LeftOut, decode, predictions_of

#: The member of a record's head that makes it the record of a shadow: the id of the rollout.
SHADOW = "shadow"


def shadow_document(id: str, payload: bytes, limit: int) -> dict[str, Any] | None:
    """The document of a record; None if it is the record of a capture.

    Args:
        limit: bytes of an answer; a larger one is stored without its predictions.

    Raises:
        ValueError, LookupError, TypeError: the record is damaged for good.
    """
    head, _, answer = decode(payload)
    if SHADOW not in head:
        return None
    size = head.get("omitted", len(answer))
    made: dict[str, Any] = {
        "_id": id,
        "model": str(head["model"]),
        "version": int(head["version"]),
        "ts": datetime.fromtimestamp(head["at"], UTC),
        "request_id": head["request_id"],
        "launch_id": head["launch_id"],
        "rollout": int(head[SHADOW]),
        "status": int(head["status"]),
        "latency_ms": head["latency_ms"],
        "predictions": None,
        "left_out": "",
    }
    if "omitted" in head or size > limit:
        return made | {"left_out": str(LeftOut.TOO_LARGE)}
    if made["status"] == 200:
        try:
            made["predictions"] = predictions_of(answer)
        except MalformedJson:
            made["left_out"] = str(LeftOut.UNREADABLE)
    return made
