"""The log of a build has no passwords in it."""

from pathlib import Path

import pytest

from model_deployment.environments.build_log import BuildLog, secrets


@pytest.mark.parametrize(
    ("variables", "lines", "hidden"),
    [
        ({"UV_INDEX_URL": "https://us:pa%40ss@a.example/simple"}, [], {"pa%40ss", "pa@ss"}),
        (
            {"PIP_EXTRA_INDEX_URL": "https://tok3n@a.example/ http://b:othe@b"},
            [],
            {"tok3n", "othe"},
        ),
        ({"UV_INDEX_OURS_PASSWORD": "hunter22", "PATH": "/bin"}, [], {"hunter22"}),
        ({}, ["--index-url https://us:in-line@a.example"], {"in-line"}),
        ({"UV_INDEX_URL": "https://a.example/simple"}, ["numpy"], set()),
        ({"X_TOKEN": "abc"}, [], set()),  # it would mask parts of words
    ],
)
def test_passwords_of_variables_and_lines_are_known(
    variables: dict[str, str], lines: list[str], hidden: set[str]
) -> None:
    assert {*secrets(variables, lines)} == hidden


def test_log_masks_what_it_writes(tmp_path: Path) -> None:
    with BuildLog(tmp_path / "logs/a.log", ["hunter22"]) as log:
        told = log.write("fetching with hunter22 from https://us:other@a.example")
    text = (tmp_path / "logs/a.log").read_text()
    assert told in text
    assert "hunter22" not in text
    assert "other" not in text


def test_log_of_another_build_begins_anew(tmp_path: Path) -> None:
    for line in ("first", "second"):
        with BuildLog(tmp_path / "a.log") as log:
            log.write(line)
    assert "first" not in (tmp_path / "a.log").read_text()
