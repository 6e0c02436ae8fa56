"""Small values that calls return."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Log:
    """The end of a log.

    Attributes:
        launch_id: the launch that wrote it; empty if there was none.
    """

    launch_id: str
    text: str

    def __str__(self) -> str:
        return self.text
