"""Without a socket: asks what is desired, and posts what waits, each in a call of its own."""

import asyncio
import logging
from typing import Any

from model_deployment_agent import __version__
from model_deployment_agent.controller import Answer, segment
from model_deployment_agent.conversation import Conversation
from model_deployment_agent.errors import AgentError, Unreachable

log = logging.getLogger(__name__)

#: Characters of data in one call.
_SIZE = 512 * 1024
#: Calls with messages in one round: a device that comes back after weeks sends the rest in the next rounds.
_CALLS = 50


class PollLink:
    """Rounds of calls."""

    def __init__(self, conversation: Conversation) -> None:
        self._with = conversation
        self._etag = ""

    async def round(self) -> None:
        """Send what waits, then take what is desired.

        Raises:
            TokenRejected, Unreachable, ControllerRefused: a call failed; the next round goes on there.
        """
        outbox = self._with.outbox
        for _ in range(2):
            received = await self._post([])
            if outbox.resume(received):
                break
        else:
            raise Unreachable("the numbers of messages do not fit, also after a new stream began")
        for _ in range(_CALLS):
            messages = outbox.next(received, size=_SIZE)
            if not messages:
                break
            received = await self._post([one.as_dict() for one in messages])
            outbox.acknowledge(min(received, messages[-1].seq))
            if received < messages[0].seq:
                raise Unreachable("the controller stored none of the messages")
        await self._ask()
        self._with.state.state, self._with.state.reason = "polling", "by calls, without a socket"

    async def _post(self, messages: list[dict[str, Any]]) -> int:
        body = {
            "agent": __version__,
            "stream": self._with.outbox.stream(),
            "running": self._with.running(),
            "health": dict(self._with.health()),
            "messages": messages,
        }
        answer = await self._call("POST", "messages", body=body)
        received = answer.body.get("received") if isinstance(answer.body, dict) else None
        if type(received) is not int:
            raise Unreachable("the controller did not say which messages it has")
        return received

    async def _ask(self) -> None:
        answer = await self._call("GET", "activeModel", etag=self._etag)
        if answer.status == 304 or not isinstance(answer.body, dict):
            return
        try:
            self._with.told_time(answer.body.get("time"))
            self._with.offered(answer.body.get("release"))
            for command in answer.body.get("commands") or []:
                if isinstance(command, dict):
                    self._with.commands.take(command)
        except (TypeError, ValueError, OverflowError) as error:
            raise Unreachable(f"cannot take what the controller sent: {error!a:.100}") from error
        self._etag = answer.etag

    async def _call(self, method: str, what: str, *, body: Any = None, etag: str = "") -> Answer:
        path = f"/{segment(self._with.identity.project)}/{what}"
        headers = {"If-None-Match": etag} if etag else {}
        token = await asyncio.to_thread(self._with.folder.token_of, self._with.identity)
        try:
            return await asyncio.to_thread(
                self._with.controller.call, method, path, token=token, body=body, headers=headers
            )
        except AgentError:
            self._etag = ""
            raise
