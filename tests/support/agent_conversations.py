"""A conversation of an agent with a controller that a test scripts."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from model_deployment_agent.clock import Clock
from model_deployment_agent.commands import Commands
from model_deployment_agent.controller import Address, Controller
from model_deployment_agent.conversation import Conversation
from model_deployment_agent.database import Database
from model_deployment_agent.errors import AgentError
from model_deployment_agent.folder import Folder, Identity
from model_deployment_agent.outbox import Outbox
from model_deployment_agent.socket_link import SocketLink
from websockets.asyncio.server import ServerConnection, serve

#: The first frame of a controller.
WELCOME = {
    "type": "welcome",
    "protocol": 1,
    "generation": 3,
    "received": 0,
    "time": 1_800_000_000_000,
}


class ConversationBench:
    """The conversation, and what it works with."""

    def __init__(self, folder: Path) -> None:
        place = Folder.at(folder)
        place.save_identity(
            Identity("http://127.0.0.1", "hall", "camera-7", "A" * 43 + "="), "mdd_x"
        )
        self.store = Database(place.database)
        self.clock = Clock()
        self.outbox = Outbox(self.store, self.clock)
        self.offers: list[object] = []
        commands = Commands(self.store, place, self.clock, self.outbox, program=None, seconds=1)
        self.conversation = Conversation(
            identity=place.identity(),
            folder=place,
            controller=Controller(Address("http", "127.0.0.1", 1, "")),
            clock=self.clock,
            outbox=self.outbox,
            commands=commands,
            offered=self.offers.append,
            running=lambda: 7,
            health=lambda: {"memory": 1},
        )

    async def talk(self, script: Callable[[ServerConnection], Awaitable[None]]) -> AgentError:
        """One connection to a controller that does as the script says; why it ended."""
        async with serve(script, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            address = Address.of(f"http://127.0.0.1:{port}", insecure=False)
            self.conversation.controller.address = address
            with pytest.raises(AgentError) as caught:
                async with asyncio.timeout(10):
                    await SocketLink(self.conversation).converse()
            return caught.value
