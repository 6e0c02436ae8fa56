"""What a device does next about the release that it should run: pure decisions over what is stored.

```
            ACCEPT          LOAD            BUILD          TRY           SWAP            KEEP
  (none) ──────────▶ downloading ──▶ verifying ──▶ trying ──▶ switching ──▶ watching ──────────▶ running
     │                    │              │            │                         │  GO_BACK         │ GO_BACK
     ▼ REFUSE             └──────────────┴────────────┴──▶ failed ◀── returning ◀─┴─────────────────┘
  refused
```

Each step is stored before and after it is done, and doing it twice does no harm: an agent that was
killed within one begins it again.
"""

from dataclasses import dataclass
from enum import StrEnum


class UpdateStage(StrEnum):
    """How far this device is with the release that it last began."""

    DOWNLOADING = "downloading"
    VERIFYING = "verifying"
    TRYING = "trying"
    SWITCHING = "switching"  # the links are moved
    WATCHING = "watching"  # it serves, and has to prove itself
    RUNNING = "running"
    RETURNING = "returning"  # the links are moved back
    FAILED = "failed"


#: Nothing has been changed yet by these; a newer wish ends them.
BEFORE_SWITCH = frozenset({UpdateStage.DOWNLOADING, UpdateStage.VERIFYING, UpdateStage.TRYING})
#: The release serves.
SERVING = frozenset({UpdateStage.WATCHING, UpdateStage.RUNNING})
#: So often may the agent be started while it tries or watches one release: the kernel may have ended it
# for the
#: memory that the model took.
MAX_STARTS = 3


class Step(StrEnum):
    """What to do next."""

    NOTHING = "nothing"
    ACCEPT = "accept"
    ABANDON = "abandon"
    LOAD = "load"
    BUILD = "build"
    TRY = "try"
    SWAP = "swap"
    KEEP = "keep"
    GO_BACK = "go_back"
    RETURN = "return"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class UpdateRow:
    """The stored row."""

    number: int
    #: Name of the release's folder.
    folder: str
    stage: UpdateStage
    reason: str = ""
    #: Trials that were begun, or starts of the agent while the release is watched.
    starts: int = 0
    #: The release before it already failed: its failures are not held against this one.
    excused: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """The release that the controller named last, and that may run here."""

    number: int
    folder: str


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a decision depends on."""

    wanted: Wanted | None
    row: UpdateRow | None
    #: Name of the folder that ``current`` names.
    current: str | None
    #: The same of ``previous``.
    previous: str | None
    #: Numbers of releases that are not tried again.
    failed: frozenset[int]
    #: All files of the row's release are there.
    complete: bool = False
    #: What is wrong with the model that serves; empty: nothing.
    trouble: str = ""
    #: The model has served long enough to be trusted.
    proven: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """A step, and why."""

    step: Step
    reason: str = ""


def decide(now: Situation) -> Decision:
    """The next step."""
    row = now.row
    if row is not None and row.stage is UpdateStage.SWITCHING:
        return Decision(Step.SWAP)
    if row is not None and row.stage is UpdateStage.RETURNING:
        return Decision(Step.RETURN, row.reason)
    if row is not None and row.stage in SERVING and row.folder == now.current:
        serving = _serving(now, row)
        if serving is not None:
            return serving
    if row is not None and row.stage in BEFORE_SWITCH:
        if now.wanted is None or now.wanted.folder != row.folder:
            return Decision(Step.ABANDON, "the controller wants another release")
        return _before_switch(now, row)
    if now.wanted is None or now.wanted.folder == now.current or now.wanted.number in now.failed:
        return Decision(Step.NOTHING)
    return Decision(Step.ACCEPT)


def _before_switch(now: Situation, row: UpdateRow) -> Decision:
    if row.stage is UpdateStage.DOWNLOADING:
        return Decision(Step.BUILD if now.complete else Step.LOAD)
    if row.stage is UpdateStage.VERIFYING:
        return Decision(Step.BUILD if now.complete else Step.LOAD)
    if row.starts >= MAX_STARTS:
        return Decision(
            Step.FAIL, f"cannot try the model: the agent ended {row.starts} times meanwhile"
        )
    return Decision(Step.TRY)


def _serving(now: Situation, row: UpdateRow) -> Decision | None:
    """What a release that serves calls for; None: nothing."""
    trouble = now.trouble
    if row.stage is UpdateStage.WATCHING and row.starts >= MAX_STARTS:
        trouble = f"the agent ended {row.starts} times since it runs"
    if trouble and not row.excused and now.previous not in {None, row.folder}:
        return Decision(Step.GO_BACK, trouble)
    if trouble and not row.excused and row.stage is UpdateStage.WATCHING:
        return Decision(Step.FAIL, f"{trouble}; there is no release before it to go back to")
    if row.stage is UpdateStage.WATCHING and now.proven and not trouble:
        return Decision(Step.KEEP)
    return None
