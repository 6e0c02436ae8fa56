"""What the service reads of Prefect where there is more than a page of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from model_deployment_flows.deployment_name import DEPLOYMENT_NAME
from model_deployment_flows.service.prefect_api import PrefectApi

_NOW = datetime.now(UTC).isoformat()


def _row(number: int) -> dict[str, Any]:
    return {
        "id": f"run-{number}",
        "state_type": "SCHEDULED",
        "state": {"timestamp": _NOW},
        "next_scheduled_start_time": _NOW,
        "expected_start_time": _NOW,
        "parent_task_run_id": None,
        "deployment_id": "ours",
    }


@pytest.mark.parametrize("runs", [0, 200, 450])
def test_all_unfinished_runs_are_read_also_where_some_end_meanwhile(runs: int) -> None:
    rows = [_row(number) for number in range(runs)]

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/api/deployments/"):
            return httpx.Response(200, json={"name": DEPLOYMENT_NAME})
        body = json.loads(request.content)
        page = rows[body["offset"] : body["offset"] + body["limit"]]
        del rows[:1]
        return httpx.Response(200, json=page)

    with PrefectApi("http://prefect/api", "flows:secret") as api:
        api._client = httpx.Client(
            base_url="http://prefect/api", transport=httpx.MockTransport(answer)
        )
        found = api.unfinished()
    assert [one.id for one in found] == [f"run-{number}" for number in range(runs)]
