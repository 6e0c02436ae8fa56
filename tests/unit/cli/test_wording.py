"""What commands print: messages name commands instead of calls, and tables are safe in pipes."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.cli.output import table
from model_deployment.cli.predictions import content_type_of, labels_in
from model_deployment.cli.wording import in_commands, told
from model_deployment.core.options import Options

ROOM = Path(__file__).parents[3] / "model_deployment"
#: How a message names a call of the API, but for those that only programs make.
CALL = re.compile(r"\b(GET|POST|PUT|PATCH|DELETE) /(?!v1/)|\bcurl -|in the body\b")


def messages() -> Iterator[tuple[str, str]]:
    """The texts of errors, with 1 for what is put in."""
    for file in sorted(ROOM.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            text = "".join(
                str(one.value) if isinstance(one, ast.Constant) else "1" for one in parts
            )
            if text.startswith("cannot "):
                yield str(file.relative_to(ROOM)), text


def test_no_message_of_the_controller_names_a_call() -> None:
    found = {*messages()}
    assert sum(CALL.search(text) is not None for _, text in found) > 3  # the search finds something
    assert {(file, text) for file, text in found if CALL.search(in_commands(text))} == set()


@pytest.mark.parametrize(
    ("message", "problem", "options", "expected"),
    [
        (
            "cannot find wine 2-1: it is not deployed; POST /deploy/wine 2/1",
            {"status": 404},
            {},
            "cannot find wine 2-1: it is not deployed; deploy it with: "
            "model-deployment deploy 'wine 2' 1",
        ),
        (
            "cannot undeploy a-1: the endpoint a@b uses it; delete the endpoint (DELETE /endpoints/a@b)",
            {"status": 409},
            {},
            "cannot undeploy a-1: the endpoint a@b uses it; delete the endpoint (model-deployment "
            "endpoint delete a@b)",
        ),
        (
            "cannot find an endpoint; PUT /endpoints/<model>@<alias> makes one",
            {"status": 404},
            {},
            "cannot find an endpoint; model-deployment endpoint set MODEL@ALIAS makes one",
        ),
        (
            "cannot do this without a user name and a password: send them with HTTP basic "
            "authentication (curl -u NAME)",
            {"status": 401},
            {},
            "cannot do this without a user name and a password: set MODEL_DEPLOYMENT_USER and "
            "MODEL_DEPLOYMENT_PASSWORD",
        ),
        (
            "cannot deploy a-1 with other options: it is deployed with all of them; undeploy it first",
            {"status": 409, "options": Options().as_dict()},
            {"workers": 2, "idle_timeout": "0s", "capture_hash": ["x"]},
            "cannot deploy a-1 with other options: --workers is 1 there, not 2; --capture-hash is [] "
            'there, not ["x"]. Change them in place with --replace',
        ),
        (
            "cannot use workers in the body: it must be less than 65 (1 more below)",
            {
                "status": 422,
                "errors": [
                    {"field": "body.workers", "problem": "it must be less than 65"},
                    {"field": "body.capture_rate", "problem": "it must be less than 2"},
                ],
            },
            {},
            "cannot use --workers: it must be less than 65\n  workers: it must be less than 65\n"
            "  capture_rate: it must be less than 2",
        ),
        (
            "cannot predict with a-1: 11 violations",
            {
                "status": 422,
                "errors": [
                    {"row": None, "column": "x", "expected": "double", "got": "no such column"},
                    {"row": 3, "column": "", "expected": "a row", "got": "null"},
                ]
                * 6,
                "error_count": 30,
            },
            {},
            "cannot predict with a-1: 11 violations\n"
            + 5
            * (
                "  column 'x': expected double, got no such column\n"
                "  row 3, the request: expected a row, got null\n"
            )
            + "  … and 20 more",
        ),
        (
            "cannot deploy a-1: it ended",
            {"status": 502, "reason": "it ended", "advice": "See its log."},
            {},
            "cannot deploy a-1: it ended. See its log.",
        ),
        (
            "cannot reach the controller at http://x:1: refused. Is it running, and is this its address?",
            {},
            {},
            "cannot reach the controller at http://x:1: refused. Start it with 'model-deployment "
            "serve', or give the address of another controller with --url",
        ),
    ],
)
def test_messages_are_told_in_commands(
    message: str, problem: dict[str, Any], options: dict[str, Any], expected: str
) -> None:
    if problem:
        problem = {"detail": message, **problem}
    assert told(message, problem, options) == expected


#: Text that callers and models choose, also what steers a terminal or spans lines.
cells = st.one_of(st.none(), st.integers(), st.text(max_size=120))


@given(st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=5))
def test_each_row_is_one_printable_line_with_all_of_its_text(rows: list[tuple[Any, ...]]) -> None:
    lines = table(("A", "B", "C"), rows)
    assert len(lines) == len(rows) + 1
    for line, row in zip(lines[1:], rows, strict=True):
        assert line.isprintable()
        for cell in row:
            if cell is not None and str(cell).isprintable():
                assert " ".join(str(cell).split()) in line


def test_cells_are_aligned_and_empty_ones_are_marked() -> None:
    assert table(("NAME", "N"), [("a-1", None), ("模型-1", 2), ("b\n-2\x1b[1m", "")]) == [
        "NAME      N",
        "a-1       -",
        "模型-1    2",
        "b -2?[1m  -",
    ]
    assert table(("NAME",), []) == []


@pytest.mark.parametrize(
    ("file", "content", "given", "kind"),
    [
        ("x.CSV", b"", "", "text/csv"),
        ("x.parquet", b"", "", "application/vnd.apache.parquet"),
        ("-", b"PAR1...", "", "application/vnd.apache.parquet"),
        ("-", b"\xef\xbb\xbf a,b\n1,2", "", "text/csv"),
        ("-", b' "a",b\n1,2', "", "text/csv"),
        ("-", b' {"inputs": 1}', "", "application/json"),
        ("rows", b"[1]", "", "application/json"),
        ("x.csv", b"", "json", "application/json"),
        ("x.csv", b"", "text/plain", "text/plain"),
    ],
)
def test_content_type_is_guessed(file: str, content: bytes, given: str, kind: str) -> None:
    assert content_type_of(file, content, given) == kind


LABELS = [
    {"request_id": "a", "row": 0, "label": 1.5},
    {"request_id": "b", "row": 2, "label": "cat"},
    {"request_id": "c", "row": 0, "label": True},
]


@pytest.mark.parametrize(
    "text",
    [
        "request_id,row,label\na,,1.5\nb,2,cat\nc,0,true\n",
        json.dumps(LABELS),
        json.dumps({"items": LABELS}),
        "\n".join(map(json.dumps, LABELS)),
    ],
)
def test_labels_are_read(text: str) -> None:
    assert labels_in(text) == LABELS
    with pytest.raises(ValueError, match="label is missing"):
        labels_in("request_id,row\na,1\n")


@pytest.mark.parametrize(
    "text", ["request_id,label\na,1\nb,\n", '{"request_id": "b", "label": null}']
)
def test_a_row_without_a_label_has_none(text: str) -> None:
    assert labels_in(text)[-1]["label"] is None


@pytest.mark.parametrize(
    "text",
    [
        "request_id,label\na,NaN\n",
        "request_id,label\na,1e999\n",
        '[{"request_id": "a", "label": Infinity}]',
    ],
)
def test_a_label_is_a_finite_number(text: str) -> None:
    with pytest.raises(ValueError, match="no finite number"):
        labels_in(text)
