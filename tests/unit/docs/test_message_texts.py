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
#: In the place of whatever a text is filled with.
VALUE = "diabetes-1"


def names() -> frozenset[str]:
    return frozenset(variable(name) for name in Settings.model_fields) | _OTHERS


@pytest.mark.parametrize(
    "path", [path for path in NAMING if path.is_file()], ids=lambda path: str(path.relative_to(ROOT))
)  # fmt: skip
def test_every_variable_that_is_named_exists(path: Path) -> None:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return  # a picture
    named = {found.rstrip(".") for found in NAME.findall(ANY.sub("", text))}
    unknown = {name for name in named - names() if not name.startswith(_TESTS)}
    assert not unknown, f"{path}: there is no such setting: {sorted(unknown)}"


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


def trees() -> Iterator[tuple[Path, ast.AST]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))


def is_sentence(text: str) -> bool:
    """Not SQL, HTML or a policy of a page."""
    return (
        len(text.split()) >= 4
        and text.isprintable()
        and not re.search(r"<|-src |\(\?:|[A-Z]{4,} [A-Z]", text)
    )


def test_message_texts_have_no_slips() -> None:
    wrong = [
        f"{path}:{line}: {', '.join(found)}: {text!r}"
        for path, tree in trees()
        for line, text, filled in texts(tree)
        if is_sentence(text) and (found := slips(text, filled))
    ]
    assert not wrong, "\n".join(wrong)


def test_texts_that_are_written_in_pieces_have_a_space_between_them() -> None:
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        before: tokenize.TokenInfo | None = None
        for token in tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline):
            if token.type in (tokenize.NL, tokenize.COMMENT):
                continue
            if before is not None and token.type == before.type == tokenize.STRING:
                left, right = before.string.rstrip("\"'"), token.string.lstrip("rbfRBF\"'")
                if (
                    re.search(r"(?<!\\)[\w.,:]$", left)
                    and re.match(r"[A-Za-z(]", right)
                    and " " in left
                ):
                    wrong.append(f"{path}:{token.start[0]}: {left[-30:]!r} and {right[:30]!r}")
            before = token
    assert not wrong, "\n".join(wrong)


def test_log_lines_have_as_many_places_as_values() -> None:
    for path, tree in trees():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if ast.unparse(node.func.value) != "_log":
                continue
            first, *given = node.args[1:] if node.func.attr == "log" else node.args
            if isinstance(first, ast.Constant) and not any(
                isinstance(a, ast.Starred) for a in given
            ):
                # One is a number for %d and %.1f, and a text for %s.
                written = str(first.value) % ((1,) * len(given)) if given else str(first.value)
                assert "%" not in re.sub(r"\d ?%", "", written), f"{path}:{node.lineno}: {written}"


def all_errors() -> list[type[errors.ModelDeploymentError]]:
    return [
        it
        for it in vars(errors).values()
        if isinstance(it, type) and issubclass(it, errors.ModelDeploymentError)
    ]


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
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
