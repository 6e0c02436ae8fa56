"""Users, and what they may do."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a user may do."""

    #: Predict and read.
    CALLER = "caller"
    #: Everything.
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class User:
    """An authenticated user."""

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Whether the user may do what a role may do."""
        return self.role in (role, Role.OPERATOR)
