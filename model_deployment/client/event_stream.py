"""Server-sent events: JSON in ``data`` lines (https://html.spec.whatwg.org, section 9.2)."""

import json
from collections.abc import Iterator
from typing import Any

from model_deployment.client.errors import StreamFailed

#: The last event of OpenAI's and MLflow's streams.
_DONE = "[DONE]"
#: Last events of OpenAI's responses, which end without it.
_LAST = ("response.completed", "response.incomplete", "response.failed")


class EventReader:
    """Reads the lines of one stream."""

    def __init__(self) -> None:
        self._data: list[str] = []
        #: The stream has said that nothing more comes.
        self.done = False
        #: Its last event may be the last one of all: the stream may end here.
        self.complete = False

    def events(self, line: str) -> Iterator[Any]:
        """The event that a line completes, if it does.

        Raises:
            StreamFailed: the event is an error.
        """
        if line:
            name, _, value = line.partition(":")
            if name == "data":
                self._data.append(value.removeprefix(" "))
            return
        text, self._data = "\n".join(self._data), []
        if text == _DONE:
            self.done = self.complete = True
        elif text and not self.done:
            event = _checked(text)
            self.complete = isinstance(event, dict) and event.get("type") in _LAST
            yield event

    def end(self) -> Iterator[Any]:
        """What the end of the stream completes."""
        yield from self.events("")


def _checked(text: str) -> Any:
    try:
        event = json.loads(text)
    except ValueError:
        return text
    if isinstance(event, dict) and event.get("type") == "error":  # of OpenAI's responses
        raise StreamFailed(event)
    if isinstance(event, dict) and event.get("error") and "choices" not in event:
        raise StreamFailed(event["error"])
    return event
