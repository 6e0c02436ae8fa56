"""Users, and what they may do."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a user may do."""

    #: Predict and read.
    CALLER = "caller"
    #: Everything.
    OPERATOR = "operator"
    #: What a device at the edge has to do in its own project, and nothing else. No person has this role.
    DEVICE = "device"


@dataclass(frozen=True, slots=True)
class User:
    """An authenticated user."""

    name: str
    role: Role
    #: Name of the project of a device; empty for people, and in a proxy, which cannot know it.
    project: str = ""
    #: Id of the device; None for people, and in a proxy.
    device_id: int | None = None

    def may(self, role: Role) -> bool:
        """Whether the user may do what a role may do."""
        return self.role in (role, Role.OPERATOR)
