"""What runs need to know of the versions of training data."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class KeptData:
    """The versions of training data, as far as runs need them; its functions read files."""

    #: Whether a version is kept under a SHA-256.
    has: Callable[[str], bool] = lambda _: True
    #: SHA-256 of the newest version of an experiment; None: there is none.
    newest: Callable[[str], str | None] = lambda _: None
    #: Held while a version is looked for and a request written, or uses are looked for and it is deleted.
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
