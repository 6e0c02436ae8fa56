"""The bytes of a body that counts against the limits of a deployment before there is a call for it."""

from typing import Self

from model_deployment.proxy.upstream import Budget


class BodyReservation:
    """Holds the bytes of a body while it is received or checked, before there is a call for it."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._size = 0

    def __enter__(self) -> Self:
        self._budget.begin_reading()
        return self

    def __exit__(self, *error: object) -> None:
        self._budget.let_go(self._size)
        self._budget.end_reading()

    def add(self, size: int) -> None:
        """Hold ``size`` more bytes.

        Raises:
            TooBusy: other bodies hold too many.
        """
        self._budget.hold(size, self._size)
        self._size += size

    def resize(self, size: int) -> None:
        """Hold ``size`` bytes in all.

        Raises:
            TooBusy: other bodies hold too many.
        """
        if size >= self._size:
            self.add(size - self._size)
        else:
            self._budget.let_go(self._size - size)
            self._size = size
