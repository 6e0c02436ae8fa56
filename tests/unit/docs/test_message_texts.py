"""Every text that somebody reads: written out with values in its places, and looked at for slips."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model_deployment.core import errors
from model_deployment.settings import Settings
from model_deployment.settings.load import _OTHERS, _TESTS
from model_deployment.settings.table import variable
from tests.support.cases import each

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "model_deployment"
#: Files that name variables to people and to machines.
NAMING = [
    *ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docker/**/*"), *ROOT.glob("examples/*"),
    *ROOT.glob("monitoring/**/*"), *ROOT.glob("nginx/**/*"), *ROOT.glob("systemd/*"),
    *ROOT.glob("scripts/*"), *PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.jinja"), *PACKAGE.rglob("*.js"),
    ROOT / "entrypoint.sh", ROOT / "docker-compose.yml", ROOT / "Dockerfile", ROOT / "Makefile",
]  # fmt: skip
#: What stands for any name: ``MODEL_DEPLOYMENT_...``, ``MODEL_DEPLOYMENT_<NAME>``, and the prefix in code.
ANY = re.compile(r"MODEL_DEPLOYMENT_(?:\.\.\.|…|<NAME>|\"|\{name|TEST_\")")
NAME = re.compile(r"MODEL_DEPLOYMENT[A-Za-z0-9_.{]*")
#: Two texts of which the first may lack a space at its end: most files have none, and need no tokens.
_PIECES = re.compile(r"""[\w.,:]["']+(?:\s|#.*\n)*[rbfRBF]{0,2}["']+[A-Za-z(]""")
#: In the place of whatever a text is filled with.
VALUE = "diabetes-1"


def names() -> frozenset[str]:
    return frozenset(variable(name) for name in Settings.model_fields) | _OTHERS


def test_every_variable_that_is_named_exists() -> None:
    known, unknown, seen = names(), dict[str, list[str]](), set[str]()
    for path in NAMING:
        try:
            text = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, IsADirectoryError):
            continue  # a picture, a folder
        named = {found.rstrip(".") for found in NAME.findall(ANY.sub("", text))}
        seen |= named
        if lost := [name for name in named - known if not name.startswith(_TESTS)]:
            unknown[str(path.relative_to(ROOT))] = sorted(lost)
    assert not unknown, f"there is no such setting: {unknown}"
    assert len(seen & known) > len(known) / 2


def texts(tree: ast.AST) -> Iterator[tuple[int, str, bool]]:
    """Line, text with :data:`VALUE` in its places, and whether it is filled in at all; no docstrings."""
    documented = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    parts: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts |= {id(part) for part in node.values}
            text = "".join(
                str(part.value) if isinstance(part, ast.Constant) else VALUE for part in node.values
            )
            yield node.lineno, text, True
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in documented | parts
        ):
            yield node.lineno, node.value, False


def slips(text: str, filled: bool) -> list[str]:
    """What is wrong with a sentence."""
    found = []
    if not filled and re.search(r"\{[a-z_]+(?:\.[a-z_]+)*(?:![ars])?(?::[^}]*)?\}", text):
        found.append("a place that is not filled")
    if re.search(r"(?<!\.)\.\.(?!\.)|,,|;;|::(?= )|[,;:] ?[,;.](?![.\w])| \.(?= |$)| ,", text):
        found.append("doubled punctuation")
    if re.search(r"\S  +\S", text) and "\n" not in text:
        found.append("two spaces")
    if re.search(r"\b([a-z]{2,}) \1\b", text.replace(VALUE, "")):
        found.append("a word twice")
    return found


def is_sentence(text: str) -> bool:
    """Not SQL, HTML or a policy of a page."""
    return (
        len(text.split()) >= 4
        and text.isprintable()
        and not re.search(r"<|-src |\(\?:|[A-Z]{4,} [A-Z]", text)
    )


def wrong_texts(tree: ast.AST) -> Iterator[str]:
    for line, text, filled in texts(tree):
        if is_sentence(text) and (found := slips(text, filled)):
            yield f"{line}: {', '.join(found)}: {text!r}"


def wrong_log_lines(tree: ast.AST) -> Iterator[str]:
    """Those that have more places, or fewer, than values."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if not (isinstance(node.func.value, ast.Name) and node.func.value.id == "_log"):
            continue
        first, *given = node.args[1:] if node.func.attr == "log" else node.args
        if isinstance(first, ast.Constant) and not any(isinstance(a, ast.Starred) for a in given):
            try:
                # One is a number for %d and %.1f, and a text for %s.
                written = str(first.value) % ((1,) * len(given)) if given else str(first.value)
            except TypeError as error:
                yield f"{node.lineno}: {error}: {first.value!r}"
                continue
            if "%" in re.sub(r"\d ?%", "", written):
                yield f"{node.lineno}: a place without a value: {written!r}"


def test_texts_and_log_lines_have_no_slips() -> None:
    """Of all that is written in the code, which is read once for both."""
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = (*wrong_texts(tree), *wrong_log_lines(tree))
        wrong += [f"{path.relative_to(ROOT)}:{one}" for one in found]
    assert not wrong, "\n".join(wrong)


def strings(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of each string, and an empty text for what stands between them.

    Python 3.12 and later have several tokens for one f-string.
    """
    begun: list[tuple[int, int]] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = tokenize.tok_name[token.type]
        if kind in ("NL", "COMMENT"):
            continue
        if kind == "FSTRING_START":
            begun.append(token.start)
        elif kind == "FSTRING_END":
            start = begun.pop()
            if not begun:
                lines = source.split("\n")[start[0] - 1 : token.end[0]]
                lines[-1] = lines[-1][: token.end[1]]
                yield start[0], "\n".join(lines)[start[1] :]
        elif not begun:
            yield token.start[0], token.string if kind == "STRING" else ""


def glued(source: str) -> list[tuple[int, str, str]]:
    """Line and both texts where two pieces of a sentence have no space between them."""
    if not _PIECES.search(source):
        return []
    found = []
    before = ""
    for line, text in strings(source):
        if before and text:
            left, right = before.rstrip("\"'"), text.lstrip("rbfRBF\"'")
            if (
                re.search(r"(?<!\\)[\w.,:]$", left)
                and re.match(r"[A-Za-z(]", right)
                and " " in left
            ):
                found.append((line, left[-30:], right[:30]))
        before = text
    return found


def test_texts_that_are_written_in_pieces_have_a_space_between_them() -> None:
    wrong = [
        f"{path}:{line}: {left!r} and {right!r}"
        for path in PACKAGE.rglob("*.py")
        for line, left, right in glued(path.read_text("utf-8"))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("code", "log", "pieces"),
    [
        ('_log.info("%s and %s", 1)', True, False),
        ('_log.info("%s", 1, 2)', True, False),
        ('_log.log(level, "100 %% of %d", 1)', False, False),
        ("_log.info('%s', *all)", False, False),
        ('fail("cannot do" # why\n     f"this")', False, True),
        ('fail("cannot do "\n     "this")', False, False),
        ("fail('cannot do: 1.'\n\n\t'(this)')", False, True),
    ],
)
def test_slips_of_the_code_are_seen(code: str, log: bool, pieces: bool) -> None:
    assert (any(wrong_log_lines(ast.parse(code))), bool(glued(code))) == (log, pieces)


def all_errors() -> list[type[errors.ModelDeploymentError]]:
    return [
        it
        for it in vars(errors).values()
        if isinstance(it, type) and issubclass(it, errors.ModelDeploymentError)
    ]


@each("kind", all_errors())
def test_every_error_is_a_whole_problem(kind: type[errors.ModelDeploymentError]) -> None:
    detail = f"cannot predict with {VALUE}: it is starting"
    more: dict[str, Any] = {"allowed": ["POST"]} if kind is errors.MethodNotAllowed else {}
    problem = kind(detail, **more).problem()
    assert problem == {
        "type": errors.problem_type(kind.title),
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
    }
    assert kind.title[0].isupper()
    assert not slips(f"{kind.title}: {detail}", filled=True)
    assert 400 <= kind.status < 600


@pytest.mark.parametrize(
    ("text", "filled", "found"),
    [
        ("cannot use {name} here, now", False, "not filled"),
        ("cannot read {error.detail} at all", False, "not filled"),
        ("cannot read this.. at all", True, "doubled"),
        ("cannot read this, . at all", True, "doubled"),
        ("cannot read  this at all", True, "two spaces"),
        ("cannot read the the file", True, "twice"),
        ("cannot read this: try it ... later", True, None),
        ("cannot read 1.5 of {} in it", True, None),
    ],
)
def test_slips_are_seen(text: str, filled: bool, found: str | None) -> None:
    seen = ", ".join(slips(text, filled))
    assert found in seen if found else not seen


def test_a_lost_variable_is_seen() -> None:
    told = NAME.findall(
        ANY.sub("", "cannot use MODEL_DEPLOYMENTfiles.DOCUMENTS_URL: no such thing")
    )
    assert told == ["MODEL_DEPLOYMENTfiles.DOCUMENTS_URL"]
    assert not {*told} & names()
