"""The gateway's table and the controller's are one: each route, by everybody, with the same outcome."""

import re

import pytest

from model_deployment.api.access import POLICIES, Policy
from tests.support.echo_server import Echo
from tests.support.nginx_gateway import AS, Gateway

PATHS = {"name": "m-1", "model": "m", "version": "1", "path": "swagger-ui.css", "file": "x.js"}


def filled(template: str) -> str:
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: PATHS[found[1]], template)


@pytest.mark.parametrize(("route", "policy"), POLICIES.items(), ids=str)
def test_the_controllers_table(
    gateway: Gateway, echo: Echo, route: tuple[str, str], policy: Policy
) -> None:
    method, path = route[0], filled(route[1])
    role = str(policy.role or "anyone")
    passed = {
        who: gateway.ask(method, path, AS.get(who, {})).status
        for who in ("nobody", "caller", "operator")
    }
    assert passed == {
        "nobody": 200 if role == "anyone" else 401,
        "caller": 403 if role == "operator" else 200,
        "operator": 200,
    }
