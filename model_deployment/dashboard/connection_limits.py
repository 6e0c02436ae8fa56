"""Who holds a live connection: so many in all, the last of them operators, and so many of one user."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from model_deployment.core.domain import Role, User
from model_deployment.core.errors import TooBusy

#: Viewers at once; more than that are no people. The last ones are for operators.
MOST, FOR_OPERATORS = 100, 20
#: Pages of one user. Where there are no passwords, nobody is told apart.
MOST_OF_ONE = 20


class Viewers:
    """Counts them."""

    def __init__(self) -> None:
        self._of: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._of.total()

    @contextmanager
    def one_more(self, user: User | None) -> Iterator[None]:
        """A viewer, as long as it is entered.

        Raises:
            TooBusy: there are too many.
        """
        name = user.name if user else ""
        most = MOST if user is not None and user.may(Role.OPERATOR) else MOST - FOR_OPERATORS
        if len(self) >= most or (name and self._of[name] >= MOST_OF_ONE):
            whose = "of this user " if len(self) < most else ""
            raise TooBusy(
                f"cannot tell one more page what happens: too many pages {whose}are open; close some",
                retry_after=10,
            )
        self._of[name] += 1
        try:
            yield
        finally:
            self._of[name] -= 1
            if not self._of[name]:
                del self._of[name]
