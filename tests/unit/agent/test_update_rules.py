"""The rules of updates: each case by itself, then any order of wishes, failures and kills."""

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from model_deployment_agent.update_rules import (
    BEFORE_SWITCH,
    MAX_STARTS,
    SERVING,
    Decision,
    Situation,
    Step,
    UpdateRow,
    UpdateStage,
    Wanted,
    decide,
)

NONE = Situation(wanted=None, row=None, current=None, previous=None, failed=frozenset())
TWO = Wanted(2, "2-x")


def _row(stage: UpdateStage, **more: object) -> UpdateRow:
    return replace(UpdateRow(2, "2-x", stage), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("now", "step"),
    [
        (NONE, Step.NOTHING),
        (replace(NONE, wanted=TWO), Step.ACCEPT),
        (replace(NONE, wanted=TWO, current="2-x"), Step.NOTHING),
        (replace(NONE, wanted=TWO, failed=frozenset({2})), Step.NOTHING),
        (replace(NONE, wanted=TWO, failed=frozenset({1, 3})), Step.ACCEPT),
        (replace(NONE, wanted=TWO, row=_row(UpdateStage.FAILED), failed=frozenset({2})), Step.NOTHING),
        (replace(NONE, wanted=TWO, row=_row(UpdateStage.FAILED)), Step.ACCEPT),
        (replace(NONE, wanted=TWO, row=_row(UpdateStage.DOWNLOADING)), Step.LOAD),
        (replace(NONE, wanted=TWO, row=_row(UpdateStage.DOWNLOADING), complete=True), Step.BUILD),
        (replace(NONE, wanted=TWO, row=_row(UpdateStage.VERIFYING), complete=True), Step.BUILD),
        (replace(NONE, wanted=TWO, row=_row(UpdateStage.VERIFYING)), Step.LOAD),
        (replace(NONE, wanted=TWO, row=_row(UpdateStage.TRYING)), Step.TRY),
        (replace(NONE, wanted=TWO, row=_row(UpdateStage.TRYING, starts=MAX_STARTS)), Step.FAIL),
        (replace(NONE, wanted=None, row=_row(UpdateStage.TRYING)), Step.ABANDON),
        (replace(NONE, wanted=Wanted(3, "3-x"), row=_row(UpdateStage.TRYING)), Step.ABANDON),
        (replace(NONE, wanted=None, row=_row(UpdateStage.SWITCHING)), Step.SWAP),
        (replace(NONE, wanted=None, row=_row(UpdateStage.RETURNING)), Step.RETURN),
    ],
)  # fmt: skip
def test_a_step_follows_from_what_is_stored(now: Situation, step: Step) -> None:
    assert decide(now).step is step


WATCHING = replace(NONE, wanted=TWO, row=_row(UpdateStage.WATCHING), current="2-x", previous="1-x")


@pytest.mark.parametrize(
    ("now", "decision"),
    [
        (WATCHING, Decision(Step.NOTHING)),
        (replace(WATCHING, proven=True), Decision(Step.KEEP)),
        (replace(WATCHING, trouble="it crashed"), Decision(Step.GO_BACK, "it crashed")),
        (replace(WATCHING, trouble="it crashed", proven=True), Decision(Step.GO_BACK, "it crashed")),
        (
            replace(WATCHING, trouble="it crashed", previous=None),
            Decision(Step.FAIL, "it crashed; there is no release before it to go back to"),
        ),
        (
            replace(WATCHING, row=_row(UpdateStage.WATCHING, starts=MAX_STARTS)),
            Decision(Step.GO_BACK, "the agent ended 3 times since it runs"),
        ),
        # The one before failed as well: it is not the fault of this one.
        (
            replace(WATCHING, row=_row(UpdateStage.WATCHING, excused=True), trouble="it crashed"),
            Decision(Step.NOTHING),
        ),
        (
            replace(WATCHING, row=_row(UpdateStage.RUNNING), trouble="it does not start"),
            Decision(Step.GO_BACK, "it does not start"),
        ),
        (replace(WATCHING, wanted=Wanted(3, "3-x")), Decision(Step.ACCEPT)),
    ],
)  # fmt: skip
def test_a_release_that_serves_has_to_prove_itself(now: Situation, decision: Decision) -> None:
    assert decide(now) == decision


class Machine(RuleBasedStateMachine):
    """A device whose steps succeed, fail or are cut off by a kill, under any wishes."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted: Wanted | None = None
        self.row: UpdateRow | None = None
        self.current: str | None = None
        self.previous: str | None = None
        self.proven: str | None = None
        self.failed: set[int] = set()
        self.blobs: set[str] = set()
        self.trouble = ""
        self.highest = 0
        #: Folders that have served well once.
        self.good: set[str] = set()

    @rule(step=st.integers(0, 3), content=st.sampled_from("ab"))
    def wish(self, step: int, content: str) -> None:
        number = max(1, self.highest + step - 1)
        # What is lower is refused before the rules see it.
        if number >= self.highest:
            self.wanted = Wanted(number, f"{number}-{content}")

    @rule()
    def wish_nothing(self) -> None:
        self.wanted = None

    @rule()
    def model_fails(self) -> None:
        if self.current is not None:
            self.trouble = "it crashed"

    @rule()
    def retry(self) -> None:
        self.failed.clear()

    def situation(self, *, proven: bool) -> Situation:
        watched = self.row is not None and self.row.stage is UpdateStage.WATCHING
        return Situation(
            wanted=self.wanted,
            row=self.row,
            current=self.current,
            previous=self.previous,
            failed=frozenset(self.failed),
            complete=self.wanted is not None and self.wanted.folder in self.blobs,
            trouble=self.trouble if watched else "",
            proven=proven and watched,
        )

    @rule(fails=st.booleans(), killed=st.booleans(), proven=st.booleans())
    def step(self, fails: bool, killed: bool, proven: bool) -> None:
        """One step; if killed, its effects are there, and the row is as before."""
        decision = decide(self.situation(proven=proven))
        before = self.row
        self.carry_out(decision, fails)
        if killed and decision.step in {Step.LOAD, Step.BUILD, Step.SWAP, Step.RETURN}:
            self.row = before

    def carry_out(self, decision: Decision, fails: bool) -> None:
        row = self.row
        match decision.step:
            case Step.ACCEPT:
                assert self.wanted is not None
                assert self.wanted.number not in self.failed
                assert self.wanted.number >= self.highest
                self.highest = self.wanted.number
                self.row = UpdateRow(
                    self.wanted.number, self.wanted.folder, UpdateStage.DOWNLOADING
                )
            case Step.ABANDON:
                self.row = None
            case Step.NOTHING:
                pass
            case _:
                assert row is not None
                self.effect(decision, row, fails)

    def effect(self, decision: Decision, row: UpdateRow, fails: bool) -> None:
        match decision.step:
            case Step.LOAD if not fails:
                self.blobs.add(row.folder)
            case Step.BUILD if not fails:
                self.row = replace(row, stage=UpdateStage.TRYING)
            case Step.TRY if not fails:
                self.row = replace(row, stage=UpdateStage.SWITCHING)
            case Step.SWAP:
                if self.current != row.folder:
                    if self.current is not None and (
                        self.current == self.proven or self.previous is None
                    ):
                        self.previous = self.current
                    self.current, self.trouble = row.folder, ""
                self.row = replace(row, stage=UpdateStage.WATCHING)
            case Step.KEEP:
                self.proven = row.folder
                self.good.add(row.folder)
                self.row = replace(row, stage=UpdateStage.RUNNING)
            case Step.GO_BACK:
                assert self.previous is not None
                self.row = replace(row, stage=UpdateStage.RETURNING)
            case Step.RETURN:
                if self.current == row.folder and self.previous is not None:
                    self.current, self.trouble = self.previous, ""
                self.previous = None
                self.fail(row)
            case Step.FAIL | Step.LOAD | Step.BUILD | Step.TRY:
                self.fail(row)

    def fail(self, row: UpdateRow) -> None:
        self.failed.add(row.number)
        self.row = replace(row, stage=UpdateStage.FAILED)

    @invariant()
    def a_device_that_served_serves(self) -> None:
        if self.row is not None and self.row.stage in SERVING:
            assert self.current is not None
        assert not self.good or self.current is not None

    @invariant()
    def what_is_tried_does_not_serve_yet(self) -> None:
        if self.row is not None and self.row.stage in BEFORE_SWITCH:
            assert self.current != self.row.folder

    @precondition(lambda self: self.wanted is not None and self.wanted.number not in self.failed)
    @rule()
    def left_alone_it_comes_to_what_is_wanted(self) -> None:
        """Some steps that succeed, and the release that is wanted serves, or has failed."""
        assert self.wanted is not None
        for _ in range(20):
            decision = decide(self.situation(proven=True))
            if decision.step is Step.NOTHING:
                break
            self.carry_out(decision, fails=False)
        else:
            raise AssertionError("it never comes to rest")
        assert self.current == self.wanted.folder or self.wanted.number in self.failed


Machine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestMachine = Machine.TestCase
