"""Tests of two versions that are looked at all the time."""

import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.endpoints.sequential_test import (
    ALTERNATIVES,
    BLOCK,
    Block,
    TwoArmTest,
    evidence,
    pair_evidence,
)


@st.composite
def blocks(draw: st.DrawFn, most: int = 10_000) -> Block:
    champion, candidate = draw(st.integers(0, most)), draw(st.integers(0, most))
    return Block(
        champion,
        candidate,
        draw(st.integers(0, champion)),
        draw(st.integers(0, candidate)),
    )


def exactly(block: Block, ratio: float) -> float:
    """The logarithm of Fisher's noncentral hypergeometric probability, from whole numbers."""
    events = block.champion_events + block.candidate_events
    logs = {
        k: k * math.log(ratio)
        + math.log(math.comb(block.candidate, k) * math.comb(block.champion, events - k))
        for k in range(max(0, events - block.champion), min(block.candidate, events) + 1)
    }
    most = max(logs.values())
    total = math.fsum(math.exp(one - most) for one in logs.values())
    return logs[block.candidate_events] - most - math.log(total)


@given(blocks(150), st.sampled_from([1.0, 1.05, 1.5]))
def test_a_block_weighs_as_fishers_noncentral_hypergeometric_distribution_says(
    block: Block, margin: float
) -> None:
    test = TwoArmTest(margin)
    test.add(block)
    for ratio, log in zip(ALTERNATIVES[::4], test.logs[::4], strict=True):
        expected = exactly(block, ratio * margin) - exactly(block, margin)
        assert log == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_the_expectation_of_a_block_under_the_null_is_one(
    champion: int, candidate: int, data: st.DataObject
) -> None:
    events = data.draw(st.integers(0, champion + candidate))
    expectation = [0.0] * len(ALTERNATIVES)
    for k in range(max(0, events - champion), min(candidate, events) + 1):
        test = TwoArmTest()
        test.add(Block(champion, candidate, events - k, k))
        chance = math.exp(exactly(Block(champion, candidate, events - k, k), 1.0))
        expectation = [
            one + chance * math.exp(log) for one, log in zip(expectation, test.logs, strict=True)
        ]
    assert expectation == pytest.approx([1.0] * len(ALTERNATIVES), rel=1e-9)


@given(st.lists(blocks(10**6), max_size=20))
def test_no_block_overflows_and_the_state_goes_through_json(several: list[Block]) -> None:
    test = TwoArmTest()
    for block in several:
        test.add(block)
    again = TwoArmTest.from_dict(json.loads(json.dumps(test.as_dict())), 1.0)
    assert again == test
    assert math.isfinite(test.log_evidence)
    assert 0 <= test.log_evidence <= test.peak or test.log_evidence <= 0 <= test.peak
    assert math.isfinite(evidence(test.peak))


@given(st.lists(blocks(300), max_size=12), st.randoms())
def test_the_order_of_blocks_does_not_matter(several: list[Block], chance: random.Random) -> None:
    one, other = TwoArmTest(), TwoArmTest()
    for block in several:
        one.add(block)
    chance.shuffle(several)
    for block in several:
        other.add(block)
    assert one.log_evidence == pytest.approx(other.log_evidence, abs=1e-6)


@given(st.lists(blocks(60), max_size=12), st.integers(0, 12))
def test_sums_that_are_fed_across_a_restart_weigh_the_same(
    several: list[Block], restart: int
) -> None:
    straight, restarted = TwoArmTest(), TwoArmTest()
    total = Block(0, 0, 0, 0)
    for at, block in enumerate(several):
        if at == restart:
            restarted = TwoArmTest.from_dict(json.loads(json.dumps(restarted.as_dict())), 1.0)
        total = total.plus(block)
        for test in (straight, restarted):
            test.feed({"canary-0": total}, "canary-0")
            test.feed({"canary-0": total}, "canary-0")
    assert straight == restarted


def test_a_block_waits_until_both_versions_have_answered_and_a_stage_that_is_over_is_closed() -> (
    None
):
    test = TwoArmTest()
    test.feed({"a": Block(BLOCK, 0, 3, 0)}, "a")
    assert not test.taken
    test.feed({"a": Block(BLOCK, 1, 3, 1)}, "a")
    assert test.taken == {"a": Block(BLOCK, 1, 3, 1)}
    test.feed({"a": Block(BLOCK + 2, 2, 3, 2)}, "a")
    assert test.taken == {"a": Block(BLOCK, 1, 3, 1)}
    test.feed({"a": Block(BLOCK + 2, 2, 3, 2)}, "b")
    assert test.taken == {"a": Block(BLOCK + 2, 2, 3, 2)}


def test_another_margin_begins_anew() -> None:
    test = TwoArmTest()
    test.feed({"a": Block(900, 100, 9, 20)}, "a")
    assert TwoArmTest.from_dict(test.as_dict(), 1.5) == TwoArmTest(1.5, taken=test.taken)


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_evidence_of_pairs_is_finite_and_grows_with_failures_of_the_candidate(
    candidate: int, champion: int
) -> None:
    here = pair_evidence(candidate, champion)
    assert math.isfinite(evidence(here))
    assert pair_evidence(candidate + 1, champion) > here > pair_evidence(candidate, champion + 1)


@given(st.integers(0, 60), st.integers(0, 60))
def test_evidence_of_pairs_does_not_grow_in_expectation_under_the_null(
    one: int, other: int
) -> None:
    now = math.exp(pair_evidence(one, other))
    after = math.exp(pair_evidence(one + 1, other)) + math.exp(pair_evidence(one, other + 1))
    assert after / 2 == pytest.approx(now)


def test_a_block_of_a_hundred_thousand_requests_takes_few_steps() -> None:
    test = TwoArmTest()
    for _ in range(10):
        test.add(Block(95_000, 5_000, 4_750, 250))
    assert test.log_evidence < 0


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.01, 0.3])
def test_a_harmless_candidate_is_seldom_stopped_though_each_block_is_looked_at(rate: float) -> None:
    chance = random.Random(3)
    stopped = 0
    for _ in range(200):
        test = TwoArmTest()
        for _ in range(60):
            candidate = sum(chance.random() < 0.2 for _ in range(40))
            events = [
                sum(chance.random() < rate for _ in range(n)) for n in (40 - candidate, candidate)
            ]
            test.add(Block(40 - candidate, candidate, *events))
        stopped += test.peak >= math.log(20)
    assert stopped / 200 <= 0.05
