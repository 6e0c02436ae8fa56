"""Decides which proxies to start, to retire and to kill. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

#: Seconds that a proxy may take from its start to its first route table.
START_TIMEOUT = 30.0
#: Looks in a row, half a second apart, at which nothing was heard of a proxy, until it is replaced. A busy
#: proxy is late by less; one that is stopped (SIGSTOP) is never heard again.
SILENT_LOOKS = 12
#: Seconds that a proxy may take to acknowledge a route table: deploys wait for it.
TABLE_TIMEOUT = 15.0
#: Seconds that a retired proxy may take beyond the time that its requests have.
GRACE = 5.0
#: Seconds before the next start, after one that failed before it served; doubled each time.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0


class Phase(StrEnum):
    """How far a proxy is."""

    STARTING = "starting"  # its process lives, and it has no route table yet
    SERVING = "serving"  # it takes connections
    RETIRING = "retiring"  # it takes none any more, and answers what it has


@dataclass(frozen=True, slots=True)
class ProxyState:
    """What is known of one living proxy."""

    id: str
    phase: Phase
    #: Whether it is of this release, with the settings in force, at the right address.
    current: bool
    #: Since when it is in its phase; the monotonic clock.
    since: float
    #: Looks in a row at which nothing was heard of it.
    silent_looks: int = 0
    #: Seconds for which it has not acknowledged a route table.
    lagging: float = 0.0
    #: Seconds that its requests may take, once it is retiring.
    patience: float = 0.0


@dataclass(frozen=True, slots=True)
class Start:
    """Start one more."""


@dataclass(frozen=True, slots=True)
class Retire:
    id: str


@dataclass(frozen=True, slots=True)
class Kill:
    id: str
    reason: str


Action = Start | Retire | Kill


def decide(
    proxies: Sequence[ProxyState], wanted: int, now: float, not_before: float = 0.0
) -> list[Action]:
    """What to do now.

    Outdated proxies serve until as many current ones serve as are wanted: the address is never without.

    Args:
        proxies: those that live.
        wanted: how many are to serve.
        now: the monotonic clock, in seconds.
        not_before: when the next one may be started.
    """
    actions: list[Action] = [
        Kill(one.id, reason) for one in proxies if (reason := _why_to_kill(one, now))
    ]
    killed = {action.id for action in actions if isinstance(action, Kill)}
    staying = [one for one in proxies if one.id not in killed and one.phase is not Phase.RETIRING]
    current = [one for one in staying if one.current]
    if len(current) < wanted and now >= not_before:
        actions += [Start()] * (wanted - len(current))
    serving = [one for one in current if one.phase is Phase.SERVING]
    if len(serving) >= wanted:
        actions += [Retire(one.id) for one in staying if not one.current]
        surplus = sorted(current, key=lambda one: one.phase is not Phase.SERVING)[wanted:]
        actions += [Retire(one.id) for one in surplus]
    return actions


def _why_to_kill(one: ProxyState, now: float) -> str:
    if one.silent_looks >= SILENT_LOOKS:
        return "it is not heard of any more"
    if one.lagging > TABLE_TIMEOUT:
        return f"it did not take a route table within {TABLE_TIMEOUT:g} s"
    age = now - one.since
    match one.phase:
        case Phase.STARTING if age > START_TIMEOUT:
            return f"it did not serve within {START_TIMEOUT:g} s"
        case Phase.RETIRING if age > one.patience + GRACE:
            return "its requests took too long"
    return ""


def pause_after(pause: float) -> float:
    """Seconds before the next start, after a proxy ended before it served.

    One that served and was killed is replaced at once.

    Args:
        pause: the one before this; 0 if there was none.
    """
    return min(LONGEST_PAUSE, max(FIRST_PAUSE, 2 * pause))
