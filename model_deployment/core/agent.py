"""Which interface for chats a model has, by its ``MLmodel`` file. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Interface(StrEnum):
    """What requests and answers of a model look like: the task in ``metadata`` of ``MLmodel``."""

    #: ``mlflow.pyfunc.ResponsesAgent``
    RESPONSES_AGENT = "agent/v1/responses"
    #: ``mlflow.pyfunc.ChatAgent``
    CHAT_AGENT = "agent/v2/chat"
    #: ``mlflow.pyfunc.ChatModel``
    CHAT_MODEL = "agent/v1/chat"
    #: Flavors that answer chats, as transformers.
    LLM_CHAT = "llm/v1/chat"


@dataclass(frozen=True, slots=True)
class Agent:
    """What a model is to callers who chat with it."""

    #: None: it does not chat.
    interface: Interface | None = None
    #: Whether it can stream its answers.
    streams: bool = False
    #: What a request may have besides the messages; None: anything.
    members: frozenset[str] | None = None


NO_AGENT = Agent()

_TASKS = {one.value: one for one in Interface}


def agent_of(mlmodel: Any, members: frozenset[str] | None = None) -> Agent:
    """What a parsed ``MLmodel`` file says.

    Args:
        members: names of the signature's inputs and parameters.
    """
    if not isinstance(mlmodel, dict):
        return NO_AGENT
    metadata = mlmodel.get("metadata")
    task = metadata.get("task") if isinstance(metadata, dict) else None
    interface = _TASKS.get(task) if isinstance(task, str) else None
    flavors = mlmodel.get("flavors")
    pyfunc = flavors.get("python_function") if isinstance(flavors, dict) else None
    streams = isinstance(pyfunc, dict) and pyfunc.get("streamable") is True
    return Agent(interface, streams, members)
