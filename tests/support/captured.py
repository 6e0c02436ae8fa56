"""What is captured of a deployment, once all of it has reached the document store."""

import csv
import io

from tests.support.harness import Controller
from tests.support.waiting import until_sync


def until_captured(controller: Controller, key: str, wanted: set[str]) -> None:
    """Wait until these requests are captured, each of them once."""

    def captured() -> bool:
        missing = wanted - captured_requests(controller, key)
        assert not missing, f"{len(missing)} of {len(wanted)} are missing: {sorted(missing)[:5]}"
        return True

    until_sync(captured, timeout=20, what="the captures")


def captured_requests(controller: Controller, key: str) -> set[str]:
    """The ids of its captured requests; each has to be there once."""
    answer = controller.call("GET", f"/model/{key}/dataset", params={"source": "captured"})
    assert answer.status_code == 200, answer.text
    ids = [row["request_id"] for row in csv.DictReader(io.StringIO(answer.text))]
    assert len(ids) == len(set(ids)), "some requests were captured twice"
    return set(ids)
