"""What pip, uv, conda and pyenv write.

The files in outputs/ are what they wrote; those of conda are as its documentation shows them.
"""

from pathlib import Path

import pytest

from model_deployment.environments.output import explain, progress, unread_page
from tests.support.cases import each

OUTPUTS = Path(__file__).with_name("outputs")


def told(name: str, code: int = 1) -> tuple[str, bool, bool]:
    found = explain((OUTPUTS / f"{name}.txt").read_text().splitlines(), code)
    return found.text, found.permanent, found.unsatisfiable


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("uv-conflict", "Because scipy==1.9.3 depends on numpy>=1.18.5,<1.26.0"),
        ("uv-conflict", "we can conclude that your requirements are unsatisfiable"),
        ("uv-no-such-package", "nosuchpackage-xyzzy was not found in the package registry"),
        ("uv-newer-python", "does not satisfy Python>=3.14"),
        ("pip-newer-python", "1.0 Requires-Python >=3.14"),
        ("pip-conflict", "scipy 1.9.3 depends on numpy<1.26.0 and >=1.18.5"),
        ("pip-no-such-package", "No matching distribution found for nosuchpackage-xyzzy==1"),
        ("conda-conflict", "nothing provides requested libnosuch 1.0"),
    ],
)
def test_versions_that_do_not_go_together_are_told_in_the_words_of_the_resolver(
    name: str, words: str
) -> None:
    text, permanent, unsatisfiable = told(name)
    assert words in text
    assert permanent
    assert unsatisfiable


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("uv-sdist-fails", "Failed to build `broken==1.0`"),
        ("uv-sdist-fails", "RuntimeError: cannot find the compiler gcc"),
        ("pip-sdist-fails", "cannot build ./broken-1.0.tar.gz"),
        ("pip-sdist-fails", "RuntimeError: cannot find the compiler gcc"),
        ("uv-invalid", "foo bar baz"),
        ("uv-no-python", "No download found for request: cpython-3.4.1"),
        ("uv-no-git", "Git executable not found"),
        ("pip-no-git", "Cannot find command 'git'"),
        ("uv-no-such-repository", "not found"),
        ("pip-no-such-repository", "not found"),
        ("uv-no-such-branch", "couldn't find remote ref refs/tags/nobranch"),
        ("pip-no-such-branch", "pathspec 'nobranch' did not match"),
        ("uv-git-password", "could not read Username"),
        ("pip-git-password", "could not read Username"),
        ("uv-no-such-file", "404 Not Found"),
        ("pip-no-such-file", "404 Client Error"),
        ("uv-file-of-index-gone", "404 Not Found"),
        ("pip-file-of-index-gone", "404 Client Error"),
        ("uv-other-hash", "Hash mismatch for `hashed==1.0`"),
        ("pip-other-hash", "DO NOT MATCH THE HASHES"),
    ],
)
def test_what_the_model_is_to_blame_for_is_permanent(name: str, words: str) -> None:
    text, permanent, unsatisfiable = told(name)
    assert words in text
    assert permanent
    assert not unsatisfiable


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("uv-index-away", "Connection refused"),
        ("uv-no-name", "Name or service not known"),
        ("uv-offline", "network was disabled"),
        ("pip-index-away", "Connection refused"),
        ("conda-away", "CONNECTION FAILED"),
        ("uv-git-away", "Couldn't connect to server"),
        ("pip-git-away", "Couldn't connect to server"),
        ("uv-git-no-name", "Could not resolve host: nosuch.invalid"),
        ("pip-git-no-name", "Could not resolve host: nosuch.invalid"),
        ("uv-ssh-no-name", "Could not resolve hostname nosuch.invalid"),
        ("pip-ssh-no-name", "Could not resolve hostname nosuch.invalid"),
        ("uv-git-503", "returned error: 503"),
        ("pip-git-503", "returned error: 503"),
        ("uv-file-503", "503 Service Unavailable"),
        ("pip-file-503", "too many 503 error responses"),
        ("uv-file-forbidden", "403 Forbidden"),
        ("pip-file-forbidden", "403 Client Error"),
        ("uv-disk-full", "No space left on device"),
        ("pip-disk-full", "No space left on device"),
    ],
)
def test_what_another_try_may_mend_is_not_permanent(name: str, words: str) -> None:
    text, permanent, unsatisfiable = told(name)
    assert words in text
    assert not permanent
    assert not unsatisfiable


@each("path", sorted(OUTPUTS.glob("*.txt")))
def test_explanation_is_one_line_without_traces_and_advice(path: Path) -> None:
    text = told(path.stem)[0]
    assert "\n" not in text
    assert len(text) < 1300
    for noise in (
        "Traceback",
        'File "',
        "Looking in",
        "Retrying",
        "note:",
        "╰",
        "error: ",
        " at 0x",
    ):
        assert noise not in text.replace("URL returned error: ", "")


@pytest.mark.parametrize(("code", "signal"), [(-9, 9), (-15, 15), (137, 9)])
def test_killed_program_is_tried_again(code: int, signal: int) -> None:
    text, permanent, _ = told("uv-conflict", code)
    assert text.startswith(f"it was ended by signal {signal}")
    assert not permanent


def test_network_that_the_program_of_a_package_misses_is_the_fault_of_the_package() -> None:
    lines = (OUTPUTS / "uv-sdist-fails.txt").read_text().splitlines()
    lines = [line.replace("cannot find the compiler gcc", "connection refused") for line in lines]
    assert explain(lines, 1).permanent


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("/x/: 401 Client Error: Unauthorized for url: /x/ - skipping", "401 Client Error"),
        ("/x/: Max retries (ResponseError('too many 503 error responses')) - skipping", "503"),
        ("/x/: 404 Client Error: Not Found for url: /x/ - skipping", ""),
    ],
)
def test_page_of_an_index_that_pip_could_not_read_is_found_in_its_log(line: str, why: str) -> None:
    log = [
        "2026-11-30T17:03:37,939 Looking in indexes: http://i",
        f"17:03 Could not fetch URL http://i{line}",
    ]
    found = unread_page(log)
    assert why in found
    assert bool(found) == bool(why)
    lines = (OUTPUTS / "pip-no-such-package.txt").read_text().splitlines()
    assert explain(lines, 1).uncertain


def test_silent_failure_says_so() -> None:
    assert explain([], 3).text == "it wrote nothing"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Resolved 61 packages in 4.51s", "downloading 61 packages"),
        ("Resolved 1 package in 4ms", "downloading 1 packages"),
        ("Downloading torch (731.2MiB)", "downloading torch (731.2 MiB)"),
        (" Downloaded torch", ""),
        ("   Building broken==1.0", "building broken==1.0 from its source"),
        ("Prepared 2 packages in 19ms", "installing 2 packages"),
        ("Collecting numpy==2.2.0 (from -r r2.txt (line 2))", "resolving numpy==2.2.0"),
        (
            "  Downloading numpy-2.2.0-cp311-cp311-manylinux_2_17_x86_64.whl (16.4 MB)",
            "downloading numpy 2.2.0 (16.4 MB)",
        ),
        ("  Downloading old-1.0.tar.gz (25 kB)", "downloading old 1.0 (25 kB)"),
        ("Installing collected packages: zipp, urllib3, six", "installing 3 packages"),
        ("  Building wheel for broken (setup.py): started", "building broken from its source"),
        ("Solving environment: ...working... done", "resolving with conda"),
        ("Downloading Python-3.11.9.tar.xz...", "downloading Python-3.11.9"),
        ("Installing Python-3.11.9...", "compiling Python-3.11.9"),
        (" + numpy==1.0", ""),
        ("", ""),
    ],
)
def test_progress_is_told_in_words(line: str, expected: str) -> None:
    assert progress(line) == expected
