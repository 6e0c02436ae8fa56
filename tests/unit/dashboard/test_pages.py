"""Small pure parts of pages: headlines of reports."""

import pytest

from model_deployment.dashboard.deployment_page import detail


@pytest.mark.parametrize(
    ("verdict", "headline", "more"),
    [
        ("ok", "Unchanged", ""),
        (
            "ok",
            "Unchanged: as good as its baseline on 60 labelled rows",
            "As good as its baseline on 60 labelled rows",
        ),
        ("ok", "Unchanged; callers send wrong requests", "Callers send wrong requests"),
        ("drift", "As good as it was, but …", "As good as it was, but …"),
    ],
)
def test_detail_does_not_repeat_the_verdict(verdict: str, headline: str, more: str) -> None:
    assert detail(verdict, headline) == more
