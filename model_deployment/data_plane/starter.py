"""Starts proxies: as processes of their own, or in the controller's own event loop."""

import os
import secrets
import socket
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from model_deployment.data_plane.embedded_proxy import EmbeddedProxy
from model_deployment.proxy.protocol import ProxyConfig
from model_deployment.runtime import companions

#: The kind of the companions, in their markers.
KIND = "proxy"
#: A proxy speaks TLS with nobody, and aiohttp reads the certificates of all authorities as it is imported:
#: an eighth of the time of a start.
_NO_AUTHORITIES = {"SSL_CERT_FILE": os.devnull}


class ProxyStarter:
    """Makes the proxies of one controller: equal but for their ids."""

    def __init__(
        self,
        template: ProxyConfig,
        listener: socket.socket,
        log: Path,
        environment: Mapping[str, str],
    ) -> None:
        """
        Args:
            template: the configuration of all; ``id``, ``column`` and ``descriptor`` are filled in.
            log: takes what they log.
            environment: of their processes.
        """
        values = asdict(template)
        for own in ("id", "column", "descriptor"):
            del values[own]
        #: Equal for proxies that behave alike.
        self.build = companions.build_of(values)
        self._template = template
        self._listener = listener
        self._log = log
        self._environment = environment

    def living(self) -> list[companions.Companion]:
        """Those that an earlier controller started; reads the environment of every process.

        Raises:
            OSError: nothing is known.
        """
        return companions.living(self._template.instance, KIND)

    def start(self, taken: Iterable[str]) -> companions.Companion:
        """Start a process.

        Args:
            taken: ids of the proxies that live.

        Raises:
            OSError: it could not be started.
        """
        config = self._config(taken)
        return companions.spawn(
            KIND,
            "model_deployment.proxy",
            asdict(config),
            instance=config.instance,
            log=self._log,
            build=self.build,
            id=config.id,
            pass_fds=[config.descriptor],
            environment={**self._environment, **_NO_AUTHORITIES},
        )

    def start_here(self, taken: Iterable[str]) -> EmbeddedProxy:
        """Run a proxy in this event loop.

        Raises:
            CredentialsError, OSError: it could not be started.
        """
        config = self._config(taken)
        return EmbeddedProxy(config, self._listener.dup())

    def _config(self, taken: Iterable[str]) -> ProxyConfig:
        column = _lowest_free({column_of(id) for id in taken})
        return replace(
            self._template,
            id=f"{column}-{secrets.token_hex(4)}",
            column=column,
            descriptor=self._listener.fileno(),
        )


def column_of(id: str) -> int:
    """The column of a proxy in the table of shared limits: its id begins with it."""
    return int(id.partition("-")[0])


def _lowest_free(taken: set[int]) -> int:
    return next(column for column in range(len(taken) + 1) if column not in taken)
