"""A password, the headers that carry it, and a clock for what is remembered of them."""

import base64

PASSWORD = "correct horse battery"


class Clock:
    """Stands still until a test sets it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def basic(name: str, password: str = PASSWORD, scheme: str = "Basic") -> bytes:
    """The header of basic authentication."""
    return f"{scheme} ".encode() + base64.b64encode(f"{name}:{password}".encode())


def bearer(token: str) -> bytes:
    """The header of a bearer token."""
    return f"Bearer {token}".encode()
