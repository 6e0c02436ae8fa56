"""When a call is sent again."""

from hypothesis import given
from hypothesis import strategies as st

from model_deployment.client.retries import LONGEST_PAUSE, Failure, Resend, pause

FAILURES = st.sampled_from(Failure)
RESENDS = st.sampled_from(Resend)
SECONDS = st.floats(0, 1e6)


@given(FAILURES, RESENDS, st.integers(1, 10_000), SECONDS, SECONDS, st.none() | SECONDS)
def test_no_attempt_begins_after_the_deadline_or_sooner_than_asked(
    failure: Failure,
    resend: Resend,
    attempt: int,
    elapsed: float,
    limit: float,
    retry_after: float | None,
) -> None:
    found = pause(
        failure, resend, attempt=attempt, elapsed=elapsed, limit=limit, retry_after=retry_after
    )
    if found is None:
        return
    assert elapsed + found <= limit
    assert found > 0
    assert found >= (retry_after or 0)
    assert retry_after is not None or found <= LONGEST_PAUSE


@given(FAILURES, RESENDS)
def test_a_call_is_sent_again_only_after_what_it_allows(failure: Failure, resend: Resend) -> None:
    again = pause(failure, resend, attempt=1, elapsed=0, limit=60) is not None
    assert again == (failure is not Failure.FINAL and failure.value <= resend)
