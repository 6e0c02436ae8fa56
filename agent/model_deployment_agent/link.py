"""Keeps the device in touch with its controller: by socket, by polling where sockets do not get through,
and with pauses."""

import asyncio
import contextlib
import logging
import random
import signal
import time

from model_deployment_agent.backoff import LONGEST, Backoff
from model_deployment_agent.conversation import Conversation
from model_deployment_agent.errors import AgentError, TokenRejected
from model_deployment_agent.poll_link import PollLink
from model_deployment_agent.socket_link import Replaced, SocketLink

log = logging.getLogger(__name__)

#: Attempts of a socket that fail before calls are tried.
SOCKET_FAILURES = 3
#: Seconds between two rounds of polling where nobody said how many.
POLL = 30.0
#: Seconds between two attempts of a socket while calls get through.
_SOCKET_AGAIN = 900.0
#: Seconds between two attempts with a token that the controller does not know.
_REJECTED = 900.0
#: Seconds that a connection has to last, for the pauses to begin at the shortest again.
_LASTED = 5.0


class Link:
    """One attempt after the other, for ever."""

    def __init__(
        self, conversation: Conversation, *, poll: float | None, backoff: Backoff | None = None
    ) -> None:
        """
        Args:
            poll: seconds between two rounds; None: sockets, and polling only where they fail.
        """
        self._with = conversation
        self._poll = poll
        self._backoff = backoff or Backoff()
        self._socket = SocketLink(conversation)
        self._rounds = PollLink(conversation)
        self._refused = 0
        self._calls_work = False

    async def run(self) -> None:
        """Stay in touch, until cancelled."""
        while True:
            try:
                if self._poll is not None:
                    await self._keep_polling(self._poll, None)
                elif self._refused >= SOCKET_FAILURES:
                    await self._calls_instead()
                else:
                    await self._socket.converse()
            except TokenRejected as error:
                await self._rejected(error)
            except (AgentError, OSError) as error:
                await self._failed(error)

    async def _calls_instead(self) -> None:
        """Poll, once to see that calls get through, and for long only if a socket fails again after that.

        The controller may just have come back: then the next socket gets through.
        """
        known, self._calls_work = self._calls_work, False
        self._refused = SOCKET_FAILURES - 2  # if calls fail as well, a socket is next
        if known:
            await self._keep_polling(POLL, time.monotonic() + _SOCKET_AGAIN)
        else:
            await self._rounds.round()
            self._calls_work = True
        self._refused = SOCKET_FAILURES - 1

    async def _keep_polling(self, seconds: float, until: float | None) -> None:
        while until is None or time.monotonic() < until:
            await self._rounds.round()
            self._backoff.reset()
            await asyncio.sleep(seconds * random.uniform(0.8, 1.0))  # noqa: S311

    async def _failed(self, error: Exception) -> None:
        welcomed = self._socket.welcomed
        if welcomed is not None and time.monotonic() - welcomed > _LASTED:
            self._backoff.reset()
        if self._socket.through:
            self._refused, self._calls_work = 0, False
        else:
            self._refused += 1
        self._socket.welcomed, self._socket.through = None, False
        pause = self._backoff.pause()
        if isinstance(error, Replaced):
            pause = LONGEST * random.uniform(0.5, 1.0)  # noqa: S311
            log.error(
                "%s: another agent uses the token of this device; enrol one of them anew", error
            )
        self._say("offline", str(error))
        log.warning("%s; again in %.1f s", error, pause)
        await asyncio.sleep(pause)

    async def _rejected(self, error: TokenRejected) -> None:
        """Try seldom; at once when there is another token."""
        self._say("rejected", str(error))
        log.error(
            "%s: the token of this device is no longer good; enrol it again "
            "with --again. It goes on to predict",
            error,
        )
        path = self._with.folder.token
        before = path.stat().st_mtime_ns if path.exists() else None
        end = time.monotonic() + _REJECTED * random.uniform(0.8, 1.0)  # noqa: S311
        while time.monotonic() < end:
            if self._is_another_device():
                log.warning("the device was enrolled elsewhere: the agent ends, to begin there")
                signal.raise_signal(signal.SIGTERM)
                return
            await asyncio.sleep(2)
            if path.exists() and path.stat().st_mtime_ns != before:
                log.info("there is another token")
                return

    def _is_another_device(self) -> bool:
        with contextlib.suppress(AgentError):
            return self._with.folder.identity() != self._with.identity
        return False

    def _say(self, state: str, reason: str) -> None:
        self._with.state.state, self._with.state.reason = state, reason
        self._with.state.generation = None
