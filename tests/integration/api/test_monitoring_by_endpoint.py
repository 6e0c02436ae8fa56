"""Predictions by an endpoint, and what monitoring says of them by its name, on a real controller."""

from tests.support.harness import Controller
from tests.support.waiting import until_sync

ENDPOINT = "/model/stub@champion"


def test_predictions_by_an_endpoint_are_known_by_its_name(controller: Controller) -> None:
    served = controller.post("/set_model", body={"model": "stub", "alias": "champion"}, wait=30)
    assert (served["version"], served["serves"]) == (2, True), served["status"]

    def table() -> list[str]:
        answer = controller.call("GET", f"{ENDPOINT}/dataset?source=captured")
        return [line.partition(",")[0] for line in answer.text.splitlines()[1:]]

    def requests() -> int:
        return int(controller.get(f"{ENDPOINT}/metrics")["serving"]["total"]["requests"])

    # What an earlier endpoint of this name has answered belongs to it, too.
    captured_before, requests_before = table(), requests()
    names = [controller.predict("stub@champion", n).headers["x-request-id"] for n in (1, 2)]
    direct = controller.predict("stub-2", 3).headers["x-request-id"]
    items = [{"request_id": name, "label": 1} for name in (*names, direct, "nobody")]
    told = controller.post(f"{ENDPOINT}/feedback", body={"items": items})
    assert (told["matched"], told["unmatched"], told["labelled_rows"]) == (3, 1, 3), told
    assert told["versions"]["2"]["metrics"]

    assert sorted(table()) == sorted([*captured_before, *names])
    assert controller.get(f"{ENDPOINT}/metrics")["version"] == 2
    assert requests() == requests_before + 3
    assert controller.get(f"{ENDPOINT}/reports") == controller.get("/model/stub-2/reports")
    assert controller.call("DELETE", f"{ENDPOINT}/captures?request_id={names[0]}").json() == {
        "erased": 1
    }
    until_sync(lambda: names[0] not in table() and names[1] in table(), what="the erasure")
    gone = controller.call("DELETE", "/endpoints/stub@champion?wait=30")
    assert gone.status_code == 204, gone.text
