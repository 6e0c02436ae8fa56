"""Reports: begun once, asked for again, shown in a notebook and saved."""

from contextlib import suppress
from typing import Any

import pytest

from model_deployment.client import Client, Unfinished, Unreachable
from tests.support.scripted_server import DROPPED, Answer, scripted


def test_a_report_that_takes_longer_can_be_asked_for_again() -> None:
    with (
        scripted(Answer(202, b'{"id": "r1", "status": "running"}')) as server,
        Client(server.url) as client,
        pytest.raises(Unfinished) as raised,
    ):
        client.report("m-1", wait=1)
    assert raised.value.id == "r1"


def test_a_report_is_begun_only_once() -> None:
    done = Answer(200, b'{"id": "r1", "verdict": "ok"}')
    for id, sent in ((None, 1), ("r1", 3)):
        with scripted(DROPPED, done) as server, Client(server.url) as client:
            with suppress(Unreachable):
                assert client.report("m-1", id=id).id == "r1"
            assert len(server.requests) == sent


def test_a_report_is_shown_in_a_frame_that_cannot_touch_the_notebook(tmp_path: Any) -> None:
    facts = Answer(200, b'{"id": "r1", "verdict": "ok", "headline": "as it was"}')
    page = Answer(200, b'<a href="degradation_report?id=r1">\'', {"Content-Type": "text/html"})
    with scripted(facts, page) as server, Client(server.url) as client:
        report = client.report("m-1")
    shown = report._repr_html_()
    assert 'sandbox="allow-scripts allow-popups"' in shown
    assert 'srcdoc="&lt;a target=&quot;_blank&quot; href=&quot;' in shown
    link = f'href="{server.url}/model/m-1/degradation_report?id=r1"'
    assert link in report.save(tmp_path / "r.html").read_text()
    assert (report.verdict, report.headline, report.id) == ("ok", "as it was", "r1")
