"""Notes down what was asked and answered while the caller waits, so it takes microseconds and no store."""

import logging
import time
import zlib
from collections.abc import Mapping

from model_deployment.core.domain import Route
from model_deployment.core.names import ModelKey
from model_deployment.recording.counters import RequestCounters
from model_deployment.recording.record import encode
from model_deployment.recording.spool import Spool
from model_deployment.recording.windows import TrafficWindows, kind_of

_log = logging.getLogger(__name__)

_FULL = 1 << 32


class Recorder:
    """What the proxy tells of each request."""

    def __init__(
        self, spool: Spool, traffic: TrafficWindows, totals: RequestCounters | None = None
    ) -> None:
        self._spool = spool
        self._traffic = traffic
        self._totals = totals or RequestCounters()
        self._broken = False

    def predicted(
        self,
        route: Route,
        request_id: str,
        media_type: str,
        body: bytes,
        answer: bytes,
        rows: int,
        seconds: float,
    ) -> None:
        """A prediction is about to be sent.

        Args:
            body: what the model was sent.
            answer: what the caller is going to get.
            rows: as far as the gate knows; 0 where it does not.
        """
        try:
            now = time.time()
            self._traffic.answered(route.key, now, seconds * 1e3, rows)
            self._totals.answered(route.key, seconds, rows)
            options = route.options
            rate = options.capture_rate
            # By the name of the request, so that the same ones are captured again in a replay.
            if rate < 1 and zlib.crc32(request_id.encode()) >= rate * _FULL:
                return
            head = {
                "model": route.key.model,
                "version": route.key.version,
                "launch_id": route.launch_id,
                "artifact": route.artifact,
                "at": now,
                "request_id": request_id,
                "latency_ms": round(seconds * 1e3, 3),
                "media_type": media_type,
            }
            if len(body) + len(answer) > options.max_capture_bytes:
                head["omitted"] = len(body) + len(answer)
                body = answer = b""
            if options.capture_exclude:
                head["exclude"] = options.capture_exclude
            if options.capture_hash:
                head["hash"] = options.capture_hash
            self._spool.append(encode(head, body, answer))
        except Exception:
            # Whatever it is, it is no reason to withhold a prediction.
            self._spool.dropped += 1
            if not self._broken:
                self._broken = True
                fields = {
                    "model": route.key.model,
                    "version": route.key.version,
                    "launch_id": route.launch_id,
                    "request_id": request_id,
                }
                _log.exception("cannot capture a prediction of %s", route.key, extra=fields)

    def relayed(self, key: ModelKey, seconds: float) -> None:
        """An answer that is no JSON was passed on; there is nothing to capture."""
        self._traffic.answered(key, time.time(), seconds * 1e3, 0)
        self._totals.answered(key, seconds, 0)

    def failed(self, key: ModelKey, status: int) -> None:
        """A request gets no prediction."""
        self._traffic.failed(key, time.time(), status)
        self._totals.failed(key, kind_of(status))

    def violated(
        self, key: ModelKey, tally: Mapping[tuple[str, str], int], *, passed: bool = False
    ) -> None:
        """A request does not fit the signature; it may go to the model all the same."""
        self._traffic.violated(key, time.time(), tally, passed=passed)
