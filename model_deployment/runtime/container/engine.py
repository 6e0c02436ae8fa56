"""Calls of the container engine's API. They block: ``calls.py`` makes them in threads.

An engine that cannot be reached and an engine that refuses are different things: the first says nothing
about containers.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from docker import APIClient

T = TypeVar("T")

#: Seconds that a call may take. The loop waits less, see ``calls.py``.
_TIMEOUT = 20

INSTALL = "install the package 'docker': pip install docker"


class EngineAway(OSError):
    """The engine does not answer, so nothing is known of containers."""


class EngineRefused(OSError):
    """The engine answered that it cannot do it."""


class Missing(EngineRefused):
    """There is no such container or image."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A container as the list of the engine has it."""

    id: str
    name: str
    #: ``created``, ``running``, ``paused``, ``restarting``, ``exited``, ``dead``; Podman has more.
    state: str
    labels: Mapping[str, str]
    image: str = ""
    #: Seconds since 1970.
    created: float = 0.0

    @property
    def lives(self) -> bool:
        """Whether it has a process."""
        return self.state in ("running", "paused", "restarting", "stopping")


class Stream(Protocol):
    """An answer that goes on; closing it ends whoever reads it."""

    def __iter__(self) -> Iterator[object]: ...
    def close(self) -> None: ...


class Engine:
    """One engine, by its address. Connects at the first call; may be called from several threads."""

    def __init__(self, url: str, timeout: int = _TIMEOUT) -> None:
        """
        Args:
            url: such as ``unix:///var/run/docker.sock``.
            timeout: seconds that a call may take.
        """
        self.url = url
        self._timeout = timeout
        self._client: APIClient | None = None
        self._connecting = threading.Lock()

    def _connect(self) -> "APIClient":
        with self._connecting:
            if self._client is None:
                try:
                    from docker import APIClient
                except ImportError:
                    raise EngineAway(
                        f"cannot use containers: a package is missing; {INSTALL}"
                    ) from None
                from docker.constants import MINIMUM_DOCKER_API_VERSION as LEAST

                def direct(version: str) -> APIClient:
                    client = APIClient(base_url=self.url, version=version, timeout=self._timeout)
                    # HTTP_PROXY and .netrc are for other machines.
                    client.trust_env = False
                    return client

                # Engines refuse versions that are too new or too old.
                with contextlib.closing(direct(LEAST)) as first:
                    version = str(first.version(api_version=False)["ApiVersion"])
                self._client = direct(version)
            return self._client

    def call(self, do: Callable[["APIClient"], T]) -> T:
        """What a call of the SDK returns.

        Raises:
            EngineAway, EngineRefused, Missing: see there.
        """
        self._knock()
        try:
            return do(self._connect())
        except OSError as error:
            if isinstance(error, EngineAway):
                raise
            # requests' exceptions are OSErrors, those of the SDK for an answer as well.
            raise self._explained(error) from error
        except Exception as error:  # the SDK lets exceptions of its libraries through
            raise self._explained(error) from error

    def _knock(self) -> None:
        """Find out in time whether anybody listens: the SDK leaves sockets open that it cannot connect."""
        scheme, _, path = self.url.partition("://")
        if scheme != "unix":
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(self._timeout)
            try:
                client.connect(f"/{path.lstrip('/')}")
            except OSError as error:
                raise self._away(error.strerror or str(error)) from None

    def _away(self, why: str) -> EngineAway:
        return EngineAway(f"the container engine at {self.url} does not answer: {why}")

    def _explained(self, error: Exception) -> OSError:
        from docker import errors

        if isinstance(error, errors.NotFound):
            return Missing(_words(error))
        if isinstance(error, errors.APIError) and error.response is not None:
            return EngineRefused(_words(error))
        return self._away(_words(error))

    # Containers

    def containers(self, **labels: str) -> list[Seen]:
        """All containers with these labels, those that ended as well."""
        wanted = {"label": [f"{name}={value}" for name, value in labels.items()]}
        found = self.call(lambda client: client.containers(all=True, filters=wanted))
        return [_seen(one) for one in found]

    def create(self, name: str, body: Mapping[str, Any]) -> str:
        """Make a container; its id."""
        answer = self.call(lambda client: client.create_container_from_config(dict(body), name))  # type: ignore[no-untyped-call]
        return str(answer["Id"])

    def start(self, name: str) -> None:
        self.call(lambda client: client.start(name))

    def kill(self, name: str, signal: str) -> None:
        """Send a signal to the first process. One that is not there, or has ended, is fine."""
        with contextlib.suppress(EngineRefused):
            self.call(lambda client: client.kill(name, signal))

    def unpause(self, name: str) -> None:
        with contextlib.suppress(EngineRefused):
            self.call(lambda client: client.unpause(name))

    def remove(self, name: str) -> None:
        """End and remove a container. One that is not there, or is being removed, is fine."""
        try:
            self.call(lambda client: client.remove_container(name, v=True, force=True))
        except Missing:
            return
        except EngineRefused as error:
            if "already in progress" not in str(error):
                raise

    def inspect(self, name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.call(lambda client: client.inspect_container(name))
        return found

    def logs(self, name: str, since: float) -> bytes:
        """What a container has written since a moment (seconds since 1970), with times before lines."""
        text = self.call(
            lambda client: client.logs(
                name, stdout=True, stderr=True, timestamps=True, since=since or None
            )
        )
        return bytes(text)

    def stats(self, name: str) -> Mapping[str, Any]:
        found = self.call(lambda client: client.stats(name, stream=False, one_shot=True))
        return dict(found) if isinstance(found, Mapping) else {}

    def deaths(self, **labels: str) -> "Stream":
        """Yields whenever such a container has ended, for as long as the engine goes on telling."""
        wanted = {"type": ["container"], "event": ["die", "died"]}  # Podman says died
        wanted["label"] = [f"{name}={value}" for name, value in labels.items()]
        found: Stream = self.call(lambda client: client.events(filters=wanted, decode=True))
        return found

    # Images

    def image(self, name: str) -> Mapping[str, Any] | None:
        """What the engine knows of an image that it has; None if it has none of that name."""
        with contextlib.suppress(Missing):
            found: Mapping[str, Any] = self.call(lambda client: client.inspect_image(name))  # type: ignore[no-untyped-call]
            return found
        return None

    def images(self, **labels: str) -> list[Mapping[str, Any]]:
        wanted = {"label": [f"{name}={value}" for name, value in labels.items()]}
        found: list[Mapping[str, Any]] = self.call(lambda client: client.images(filters=wanted))
        return found

    def pull(self, name: str) -> None:
        from docker.utils import parse_repository_tag

        repository, tag = parse_repository_tag(name)
        said = self.call(
            lambda client: [*client.pull(repository, tag or "latest", stream=True, decode=True)]
        )
        for line in said:
            if isinstance(line, Mapping) and (error := line.get("error")):
                raise EngineRefused(str(error))

    def remove_image(self, name: str) -> None:
        """Remove an image. Not one that a container uses (EngineRefused); one that is gone is fine."""
        with contextlib.suppress(Missing):
            self.call(lambda client: client.remove_image(name))

    def put(self, name: str, folder: str, archive: bytes) -> None:
        """Unpack a tar archive in a container."""
        self.call(lambda client: client.put_archive(name, folder, archive))

    def commit(self, name: str, repository: str, tag: str, config: Mapping[str, Any]) -> str:
        """Make an image of a container; its id."""
        answer = self.call(lambda client: client.commit(name, repository, tag, conf=dict(config)))
        return str(answer["Id"])

    def close(self) -> None:
        """Give up all connections."""
        if self._client is not None:
            self._client.close()


def _seen(one: Mapping[str, Any]) -> Seen:
    names = one.get("Names") or [""]
    return Seen(
        id=str(one["Id"]),
        name=str(names[0]).lstrip("/"),
        state=str(one.get("State", "")).lower(),
        labels=one.get("Labels") or {},
        image=str(one.get("Image", "")),
        created=float(one.get("Created") or 0),
    )


def _words(error: BaseException) -> str:
    """The message of an exception of the SDK, without its wrappings."""
    explanation = getattr(error, "explanation", None)
    text = str(explanation or error)
    for known in ("Permission denied", "No such file or directory", "Connection refused"):
        if known in text:
            return known
    return text.strip() or type(error).__name__
