"""How a controller and a proxy process speak: lines of JSON over the proxy's control socket.

The proxy listens, the controller connects. Of several controllers that connect the last one counts.

======== ===================================== ==========================================================
message  members                               the proxy then
======== ===================================== ==========================================================
listener                                       sends its listening socket (SCM_RIGHTS), and the address
hello    id                                    answers with its protocol, and begins to report
table    number, routes, endpoints, timeseries replaces its route table, then sends ``acknowledged``
report   id                                    answers with a report
stored   revisions                             forgets counts that are in the document store
discard  key                                   forgets counts of a name that stands for another model
refuse   key, detail, retry_after, extra       fails the requests that wait for a parked deployment
dismiss                                        fails, in a moment, all requests that wait
drop                                           cuts the requests under way
retire   last, patience                        takes no connections any more, and ends when it is done
======== ===================================== ==========================================================

The proxy sends by itself: ``acknowledged`` (number, complete, report), ``report``, ``wake`` (key), ``look``
(a model did not answer), ``note`` (key, text), ``log`` (a warning or an error, for the controller's log).

``listener``, ``hello`` and ``retire`` stay as they are: a controller of another release uses them to take
over the address.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from model_deployment.core.domain import Address, State
from model_deployment.core.endpoints import EndpointName, EndpointRoute
from model_deployment.core.errors import NotEnoughMemory
from model_deployment.core.measures import LaunchTraffic, ProxyCounters
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from model_deployment.core.routes import Route, Target

#: Of this protocol. A proxy of another version is replaced.
VERSION = 6
#: Bytes of a line; a longer one ends the connection.
LONGEST = 256 * 1024 * 1024
#: Below the data directory; only its owner may enter.
FOLDER = "proxies"
#: In that folder: where the controller answers what is no prediction.
API_SOCKET = "api.sock"
#: What the proxies use of the limits of deployments, see ``limits_file``.
LIMITS_FILE = "limits"

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """What a proxy is started with. It holds no secrets."""

    id: str
    #: Names the data directory.
    instance: str
    data_dir: str
    #: The address in words, and the descriptor of the socket that listens there.
    host: str
    port: int
    descriptor: int
    credentials_dir: str
    #: There were passwords when the controller started, so there always are.
    credentials_required: bool
    hosts: tuple[str, ...]
    #: Methods, and regular expressions of the paths, of the calls that need no password.
    open_calls: tuple[tuple[str, str], ...]
    #: The same, of the calls whose bodies the controller writes to its disk as they come.
    streamed_calls: tuple[tuple[str, str], ...]
    trusted_proxies: str
    #: :class:`~model_deployment.proxy.upstream.UpstreamLimits` by name.
    limits: Mapping[str, Any]
    max_body_bytes: int
    #: Bytes that all proxies may hold for callers together.
    held_bytes: int
    #: Seconds that a whole body may take, see :class:`~model_deployment.proxy.held_bytes.Pace`.
    body_timeout: float
    #: As :class:`~model_deployment.recording.spool.Spool` has it.
    spool_bytes: int
    #: Seconds that requests under way may take when the proxy is told to end by a signal.
    drain_timeout: float
    log_level: str
    log_format: str
    log_max_bytes: int
    #: Whether there are to be other proxies at the address.
    shared: bool
    #: Its column in the table of shared limits.
    column: int
    #: WebSockets that may be open.
    sockets: int

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> "ProxyConfig":
        calls = {
            name: tuple((method, path) for method, path in message[name])
            for name in ("open_calls", "streamed_calls")
        }
        return cls(**{**message, "hosts": tuple(message["hosts"]), **calls})

    @property
    def folder(self) -> Path:
        return Path(self.data_dir) / FOLDER

    @property
    def socket(self) -> str:
        """The file name of the control socket."""
        return socket_name(self.id)


def socket_name(id: str) -> str:
    return f"{id}.sock"


def encode(message: Mapping[str, Any]) -> bytes:
    return orjson.dumps(message) + b"\n"


def decode(line: bytes) -> Message:
    """
    Raises:
        ValueError: the line is not a JSON object.
    """
    message = orjson.loads(line)
    if not isinstance(message, dict):
        raise ValueError("not an object")
    return message


#: The options that proxies use. A proxy of an earlier release refuses a route with a value that it does not
#: know, so it is told of no others: those of a launch may get new values with each release.
ROUTE_OPTIONS = (
    "workers", "validation", "capture_rate", "capture_exclude", "capture_hash", "max_capture_bytes",
    "idle_timeout",
)  # fmt: skip


def route_message(route: Route) -> Message:
    """A route as JSON, with :data:`ROUTE_OPTIONS` of its options."""
    message = asdict(route) | {"key": [route.key.model, route.key.version]}
    told = route.options.as_dict()
    return message | {"options": {name: told[name] for name in ROUTE_OPTIONS}}


def route_of(message: Mapping[str, Any]) -> Route:
    """The inverse of :func:`route_message`. Members of a newer release are ignored.

    Raises:
        LookupError, TypeError, ValueError: it is no route.
    """
    known = {name: message[name] for name in Route.__dataclass_fields__ if name in message}
    return Route(
        **known
        | {
            "key": ModelKey(*message["key"]),
            "state": State(message["state"]),
            "options": Options.from_dict(message["options"]),
            "targets": tuple(map(_target_of, message["targets"])),
            "retiring": tuple(map(_target_of, message["retiring"])),
        }
    )


def _target_of(message: Mapping[str, Any]) -> Target:
    address = message["address"]
    return Target(
        message["launch_id"], message["session"], None if address is None else _address_of(address)
    )


def _address_of(message: Mapping[str, Any]) -> Address:
    return Address(message["host"], message["port"], message["path"])


def endpoint_message(route: EndpointRoute) -> Message:
    """An endpoint's route as JSON."""
    keys = {"champion": route.champion, "candidate": route.candidate}
    return asdict(route) | {
        "name": [route.name.model, route.name.alias],
        **{which: None if key is None else [key.model, key.version] for which, key in keys.items()},
    }


def endpoint_of(message: Mapping[str, Any]) -> EndpointRoute:
    """The inverse of :func:`endpoint_message`. Members of a newer release are ignored.

    Raises:
        LookupError, TypeError: it is no route.
    """
    known = {name: message[name] for name in EndpointRoute.__dataclass_fields__ if name in message}
    keys = {which: message[which] for which in ("champion", "candidate")}
    return EndpointRoute(
        **known
        | {which: None if key is None else ModelKey(*key) for which, key in keys.items()}
        | {"name": EndpointName(*message["name"])}
    )


def traffic_message(traffic: LaunchTraffic, now: float) -> Message:
    """The traffic of a launch as JSON: ages become moments of the machine's monotonic clock."""
    busy = traffic.in_flight or traffic.reading
    return asdict(traffic) | {
        "oldest": now - traffic.oldest if traffic.oldest else None,
        "idle": None if busy else now - traffic.idle,
    }


def traffic_of(message: Mapping[str, Any], now: float) -> LaunchTraffic:
    """The inverse of :func:`traffic_message`, at another moment."""
    ages = {
        name: 0.0 if message[name] is None else max(0.001, now - message[name])
        for name in ("oldest", "idle")
    }
    return LaunchTraffic(**{**message, **ages})


def counters_message(counters: ProxyCounters) -> Message:
    """The counts of a deployment as JSON."""
    violations = [[*where, count] for where, count in counters.violations.items()]
    return asdict(counters) | {"violations": violations}


def counters_of(message: Mapping[str, Any]) -> ProxyCounters:
    """The inverse of :func:`counters_message`."""
    violations = {(column, kind): count for column, kind, count in message["violations"]}
    sizes = tuple(message["batch_sizes"])
    return ProxyCounters(**{**message, "violations": violations, "batch_sizes": sizes})


def refusal_message(key: ModelKey, error: NotEnoughMemory) -> Message:
    return {"op": "refuse", "key": [key.model, key.version], "detail": error.detail,
            "retry_after": error.retry_after, "extra": dict(error.extra)}  # fmt: skip


def refusal_of(message: Mapping[str, Any]) -> tuple[ModelKey, NotEnoughMemory]:
    """The inverse of :func:`refusal_message`."""
    error = NotEnoughMemory(
        message["detail"], retry_after=message["retry_after"], extra=message["extra"]
    )
    return ModelKey(*message["key"]), error
