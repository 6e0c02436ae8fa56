"""The types of problems are names that programs compare: none may change or go."""

import json
import re
from pathlib import Path

import pytest

from model_deployment.core.errors import problem_type
from model_deployment.http import request_parsing
from scripts.generators.problems import problems
from tests.support.cases import each

GATEWAY = Path(__file__).parents[3] / "nginx" / "problems.conf"

#: Kinds of problems that calls were answered with in any release.
KINDS = [
    "answer-is-no-json",
    "conflict",
    "deployment-failed",
    "disk-full",
    "double-header",
    "forbidden",
    "incomplete-body",
    "internal-error",
    "invalid-name",
    "invalid-request",
    "malformed-csv",
    "malformed-json",
    "launches-cannot-be-started",
    "method-not-allowed",
    "misdirected-request",
    "model-failed",
    "model-process-broke",
    "model-timed-out",
    "no-free-port",
    "not-deployed",
    "not-enough-memory",
    "not-found",
    "not-ready",
    "path-not-canonical",
    "payload-too-large",
    "registry-unavailable",
    "request-timeout",
    "too-busy",
    "unauthorized",
    "unavailable",
    "unknown-model",
    "unsupported-media-type",
]


@each("kind", KINDS)
def test_a_kind_stays(kind: str) -> None:
    assert f"`{kind}`" in problems()


@pytest.mark.parametrize(
    "text",
    [
        *re.findall(r"return \d+ '(.+)'", GATEWAY.read_text().replace("\\'", "'")),
        request_parsing._MALFORMED.decode(),
        (request_parsing._LONG_HEAD % 1).decode(),
    ],
)
def test_what_is_written_by_hand_has_the_type_of_its_title(text: str) -> None:
    problem = json.loads(text)
    assert problem["type"] == problem_type(problem["title"])
