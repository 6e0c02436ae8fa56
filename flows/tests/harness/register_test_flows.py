"""``python -m harness.register_test_flows FLOW…``: flows of the tests' project, served like the others."""

from __future__ import annotations

import sys

import lasting_flows
from model_deployment_flows.service.register import deployment_of

for name in sys.argv[1:]:
    deployment_of(getattr(lasting_flows, name)).apply()
