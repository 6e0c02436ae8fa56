"""Explains in a sentence why MongoDB cannot be used: the driver shows time-outs and topologies. Pure."""

import re

_LONGEST = 200
#: The address of a server in the driver's text, and what happened there.
_SERVER = re.compile(r"([^\s,(]+:\d+): ((?:(?! \(configured timeouts|, Timeout: ).)+)")
#: Addresses of servers that did not answer.
_SILENT = re.compile(r"<ServerDescription \('([^']+)', (\d+)\)")
_DUMP = re.compile(
    r"(?:,? \(configured timeouts|, Timeout: |, Topology Description: |, full error: ).*", re.S
)
_NETWORK: tuple[tuple[tuple[str, ...], str], ...] = (
    (("Errno 111", "Connection refused", "Connect call failed"), "connection refused"),
    (("Name or service not known", "name resolution", "nodename nor servname", "No address associated"),
     "its host name cannot be resolved"),
    (("certificate verify failed",), "its certificate is not trusted"),
    (("SSL handshake failed", "WRONG_VERSION_NUMBER"), "TLS failed"),
    (("timed out", "No servers found yet"), "no answer in time"),
    (("connection closed", "Connection reset", "Broken pipe"), "it closed the connection"),
    (("unreachable", "No route to host"), "no route to host"),
)  # fmt: skip
_ANSWERS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("Authentication failed",), "it refuses the user or the password"),
    (("not authorized", "requires authentication"),
     "its user lacks permissions; grant the user readWrite on the database"),
    (("No replica set members match", "No primary", "not primary", "NotWritablePrimary"),
     "it has no primary at the moment"),
    (("Transaction numbers are only allowed",), "it is not a replica set"),
    (("OutOfDiskSpace", "No space left"), "its disk is full"),
)  # fmt: skip


def explain(error: BaseException) -> str:
    """A clause like ``cannot reach MongoDB at localhost:27017: connection refused``."""
    text = str(error)
    for signs, meaning in _ANSWERS:
        if any(sign in text for sign in signs):
            return f"cannot use MongoDB: {meaning}"
    where = [f"{host}:{port}" for host, port in _SILENT.findall(text)]
    where = [*dict.fromkeys(where or [address for address, _ in _SERVER.findall(text)])]
    for signs, meaning in _NETWORK:
        if any(sign in text for sign in signs):
            return f"cannot reach MongoDB{' at ' if where else ''}{', '.join(where)}: {meaning}"
    return f"cannot use MongoDB: {first_line(error)}"


def first_line(error: BaseException) -> str:
    """The first line of an error without the driver's additions, cut between words."""
    lines = _DUMP.sub("", str(error)).strip().splitlines()
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= _LONGEST else text[:_LONGEST].rpartition(" ")[0] + " ..."
