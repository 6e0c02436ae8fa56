"""Counts a request and writes its capture to the spool while the caller waits: it takes microseconds."""

import logging
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from model_deployment.core.names import ModelKey
from model_deployment.core.routes import Route
from model_deployment.recording.capture import encode
from model_deployment.recording.counters import RequestCounters
from model_deployment.recording.error_kinds import kind_of
from model_deployment.recording.model_errors import ErrorRecords, Failure
from model_deployment.recording.shadow import SHADOW
from model_deployment.recording.spool import Spool
from model_deployment.recording.windows import TrafficWindows

_log = logging.getLogger(__name__)

_FULL = 1 << 32


class Recorder:
    def __init__(
        self, spool: Spool, windows: TrafficWindows, counters: RequestCounters | None = None
    ) -> None:
        self._spool = spool
        self._windows = windows
        self._counters = counters or RequestCounters()
        self._broken = False
        #: Records of this turn of the event loop, which are written together.
        self._held: list[list[bytes]] = []
        self._errors = ErrorRecords()

    def predicted(
        self,
        route: Route,
        request_id: str,
        media_type: str,
        body: bytes,
        answer: bytes | Callable[[], bytes],
        rows: int,
        seconds: float,
        endpoint: str = "",
        unkept: int = 0,
        launch_id: str | None = None,
    ) -> None:
        """Record a prediction that is about to be sent, behind the next :meth:`flush`. Never raises.

        Args:
            body: as the model got it.
            answer: as the caller will get it, or what makes it: called only if it is captured.
            rows: 0 if the gate does not know.
            endpoint: the endpoint that the request named; empty if it named the deployment.
            unkept: bytes of an answer that nobody has kept, so that it is recorded without bodies.
            launch_id: the launch that answered.
        """
        try:
            now = time.time()
            self._windows.answered(route.key, now, seconds * 1e3, rows)
            self._counters.answered(route.key, seconds, rows)
            options = route.options
            rate = options.capture_rate
            # By the id of the request, so that a replay captures the same requests.
            if rate < 1 and zlib.crc32(request_id.encode()) >= rate * _FULL:
                return
            head = _head(route, launch_id, request_id, now, seconds) | {"media_type": media_type}
            if endpoint:
                head["endpoint"] = endpoint
            content = answer if isinstance(answer, bytes) else b"" if unkept else answer()
            size = len(body) + len(content) + unkept
            if unkept or size > options.max_capture_bytes:
                head["omitted"] = size
                body = content = b""
            if options.capture_exclude:
                head["exclude"] = options.capture_exclude
            if options.capture_hash:
                head["hash"] = options.capture_hash
            self._held.append(encode(head, body, content))
        except Exception:
            # No failure here may withhold a prediction.
            self._drop(route, request_id, launch_id)

    def shadowed(
        self,
        route: Route,
        rollout: int,
        request_id: str,
        answer: bytes,
        status: int,
        seconds: float,
        launch_id: str | None = None,
    ) -> None:
        """Record what a candidate answered to the copy of a request. Nothing is counted. Never raises.

        Args:
            route: of the candidate. All its answers are recorded, whatever its capture rate.
            rollout: the id of the rollout.
            request_id: of the request that was copied.
            status: of the answer, or the one that stands for the failure.
            launch_id: the launch that answered.
        """
        try:
            head = _head(route, launch_id, request_id, time.time(), seconds)
            head |= {SHADOW: rollout, "status": status}
            if len(answer) > route.options.max_capture_bytes:
                head["omitted"] = len(answer)
                answer = b""
            self._held.append(encode(head, b"", answer))
        except Exception:
            self._drop(route, request_id, launch_id)
        self.flush()

    def _drop(self, route: Route, request_id: str, launch_id: str | None) -> None:
        """Count a record that could not be made; the first one is logged with its traceback."""
        self._spool.dropped += 1
        if not self._broken:
            self._broken = True
            fields = {
                "model": route.key.model,
                "version": route.key.version,
                "launch_id": launch_id,
                "request_id": request_id,
            }
            _log.exception("cannot capture a prediction of %s", route.key, extra=fields)

    def flush(self) -> None:
        """Write the captures of the predictions so far to the spool. Never raises."""
        if self._held:
            held, self._held = self._held, []
            try:
                self._spool.append_all(held)
            except Exception:
                self._spool.dropped += len(held)
                _log.exception("cannot write %d captures", len(held))

    def relayed(self, key: ModelKey, seconds: float) -> None:
        """Count an answer that is not JSON: there is nothing to capture."""
        self._windows.answered(key, time.time(), seconds * 1e3, 0)
        self._counters.answered(key, seconds, 0)

    def failed(self, key: ModelKey, status: int) -> None:
        """Count a request without a prediction."""
        self._windows.failed(key, time.time(), status)
        self._counters.failed(key, kind_of(status))

    def broke(self, route: Route, failure: Failure) -> None:
        """Record why a request got no prediction, where that is not its caller's fault. Never raises."""
        try:
            head = self._errors.note(route, failure, time.time())
            if head is not None:
                self._spool.append_all([encode(head, b"", b"")])
        except Exception:
            self._drop(route, failure.request_id, failure.launch_id)

    def write_errors(self, *, everything: bool = False) -> None:
        """Write what is known of repeated failures, now and then and at the end. Never raises."""
        try:
            heads = self._errors.due(time.time(), everything=everything)
            if heads:
                self._spool.append_all([encode(head, b"", b"") for head in heads])
        except Exception:
            _log.exception("cannot write the errors of models")

    def violated(
        self, key: ModelKey, tally: Mapping[tuple[str, str], int], *, passed: bool = False
    ) -> None:
        """Count the violations of one request; ``passed``: it goes to the model nevertheless."""
        self._windows.violated(key, time.time(), tally, passed=passed)


def _head(
    route: Route, launch_id: str | None, request_id: str, now: float, seconds: float
) -> dict[str, Any]:
    return {
        "model": route.key.model,
        "version": route.key.version,
        "launch_id": launch_id,
        "artifact": route.artifact,
        "at": now,
        "request_id": request_id,
        "latency_ms": round(seconds * 1e3, 3),
    }
