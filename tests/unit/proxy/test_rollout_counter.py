"""What is counted of a rollout."""

from hypothesis import given
from hypothesis import strategies as st

from model_deployment.core.rollout_counts import StageCounts
from model_deployment.proxy import rollout_counter
from model_deployment.proxy.rollout_counter import REFUSED, Arm, RequestOutcome, RolloutCounter
from model_deployment.recording.histogram import BOUNDS

GOOD, BAD = RequestOutcome(0.01), RequestOutcome(0.01, "502")


def test_requests_failures_and_latencies_of_each_stage_and_version() -> None:
    counter = RolloutCounter()
    counter.count("canary-0", Arm.CHAMPION, GOOD)
    counter.count("canary-0", Arm.CANDIDATE, BAD)
    counter.count("canary-1", Arm.CANDIDATE, RequestOutcome(0.0, REFUSED))
    counter.count("canary-1", Arm.CANDIDATE, GOOD)
    first, second = counter.stages["canary-0"], counter.stages["canary-1"]
    assert (first.champion.requests, first.champion.failed) == (1, 0)
    assert (first.candidate.requests, first.candidate.failures) == (1, {"502": 1})
    assert (second.candidate.requests, second.candidate.failures) == (2, {"refused": 1})
    [(place, times)] = second.candidate.latencies.items()
    assert times == 1
    assert BOUNDS[place - 1] < 10 <= BOUNDS[place]
    assert counter.revision == 4


def test_one_key_fails_once_a_minute() -> None:
    now = 0.0
    counter = RolloutCounter(lambda: now)

    def failed() -> int:
        for key in (b"a", b"a", b"b", None, None):
            counter.count("canary-0", Arm.CANDIDATE, BAD, key)
        return counter.stages["canary-0"].candidate.failed

    assert failed() == 4
    assert failed() == 6  # without a key, each request is one of its own
    counter.count("canary-0", Arm.CHAMPION, BAD, b"a")
    assert counter.stages["canary-0"].champion.failed == 1
    now = 60.0
    assert failed() == 10
    assert counter.stages["canary-0"].candidate.requests == 10


def test_the_keys_are_bounded() -> None:
    counter = RolloutCounter(lambda: 0.0)
    most = rollout_counter._MOST_KEYS
    for key in range(most + 100):
        counter.count("canary-0", Arm.CANDIDATE, BAD, b"%d" % key)
    assert counter.stages["canary-0"].candidate.failed == most


outcomes = st.sampled_from([GOOD, BAD, RequestOutcome(0.0, REFUSED)])


@given(st.lists(st.tuples(outcomes, outcomes)))
def test_pairs_add_up(pairs: list[tuple[RequestOutcome, RequestOutcome]]) -> None:
    counter = RolloutCounter()
    for champion, candidate in pairs:
        counter.compare("shadow", champion, candidate)
    counts = counter.stages.get("shadow", StageCounts())
    assert counts.champion.requests == counts.candidate.requests == len(pairs)
    both = counts.champion.failed - counts.champion_only
    assert both == counts.candidate.failed - counts.candidate_only
    assert both == sum(bool(one.failure and other.failure) for one, other in pairs)
    for arm in (counts.champion, counts.candidate):
        assert arm.failed + sum(arm.latencies.values()) == arm.requests


def test_requests_without_a_copy_are_counted_apart() -> None:
    counter = RolloutCounter(lambda: 0.0)
    for outcome in (GOOD, BAD, BAD):
        counter.leave("shadow", outcome, b"a caller")
    counts = counter.stages["shadow"]
    assert (counts.uncopied.requests, counts.uncopied.failed) == (2, 1)
    assert counts.champion.requests == 0
