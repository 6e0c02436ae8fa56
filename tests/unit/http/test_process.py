"""How many descriptors WebSockets may take of a process."""

import resource

import pytest

from model_deployment.http.process import most_tunnels


@pytest.mark.parametrize(
    ("limit", "wanted", "most"),
    [
        (65536, 5000, 5000),
        (20000, 5000, 5000),
        (4096, 5000, 1536),
        (2048, 5000, 512),
        (1024, 5000, 256),
        (1024, 100, 100),
        (65536, 0, 0),
        (resource.RLIM_INFINITY, 5000, 5000),
    ],
)
def test_sockets_leave_descriptors_for_everything_else(
    monkeypatch: pytest.MonkeyPatch, limit: int, wanted: int, most: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limit, limit))
    assert most_tunnels(wanted) == most
