"""Spellings of paths: what the gateway lets through is what the controller reads as the same."""

import asyncio
from pathlib import Path
from urllib.parse import quote, unquote

import pytest

from model_deployment.http.paths import is_canonical
from tests.support.echo_server import Echo
from tests.support.nginx_gateway import Gateway
from tests.support.raw_requests import head, send, statuses

CORPUS = Path(__file__).parents[1] / "corpus"

#: Ways to something closed through something open, and to what is for operators through what is not.
DETOURS = (
    "/undeploy/..%2fpublic/x", "/health/../deploy/m/1", "/health/..%2fdeploy/m/1",
    "/health%2f..%2fdeploy%2fm%2f1", "/health/%2e%2e/deploy/m/1", "/health/.%2e/deploy/m/1",
    "/health/%2e./deploy/m/1", "/health/..;/deploy/m/1", "/health;/../deploy/m/1", "/health/./",
    "/./health", "/../health", "//health", "/health//", "/health/..", "/health/.", "/..", "/.",
    "/%2e%2e/health", "/x/../health", "/x/..%2fhealth", "/x/%252e%252e/health", "/%2fhealth",
    "/health%00", "/health%00/../deploy/m/1", "/health%0a", "/health%0d%0aX:y", "/health%09", "/health%7f",
    "/health\\..\\deploy\\m\\1", "/health%5c..%5cdeploy", "/heal%74h", "/%68ealth", "/health%2e",
    "/health;x=y", "/health,", "/health:", "/health@", "/health!", "/health'", "/health(", "/health*",
    "/health+", "/health=", "/health$", "/health&", '/health"', "/health<", "/health>", "/health^",
    "/health`", "/health{", "/health|", "/health}", "/health[", "/health]", "/health#", "/health#/../x",
    "/health%", "/health%2", "/health%zz", "/health%2F", "/health%2f", "/health%u002f", "/health%c0%af",
    "/health%ff", "/h\xe9alth", "/m-1/..%2f..%2fdeploy/m/1", "/m-1%2finvocations", "/m-1/../deploy/m/1",
    "/m-1/./invocations", "/m-1//invocations", "/model/m-1/../../deploy/m/1",
    "/model/m-1/feedback/..%2fset_new_metrics", "/model/..%2fdeploy/feedback", "/model/./feedback",
    "/model/../feedback", "/model/%2e%2e/feedback", "/model/m-1/feedback%2f..%2fset_new_metrics",
    "/static-offline-docs/../deploy/m/1", "/static-offline-docs/..%2f..%2fetc%2fpasswd",
    "/static-offline-docs/%2e%2e/%2e%2e/etc/passwd", "/static-offline-docs/x/../../deploy/m/1",
    "/static-offline-docs/..\\..\\x", "/deploy/m%2f1", "/deploy%2fm%2f1", "/deploy/m/1%2f..%2f2",
)  # fmt: skip
TARGETS = (
    "http://x/health", "http://other/deploy/m/1", "https://x/health", "HTTP://x/health", "x:80",
    "health", "*", "", "?", "?/health", "ftp://x/health", "http:///health",
)  # fmt: skip


def canonical(path: str) -> bool:
    """What the controller says; it sees no bytes that are not ASCII."""
    path = path.partition("?")[0]
    return path.isascii() and is_canonical(path.encode(), unquote(path))


def is_canonical_but_for_utf8(path: str) -> bool:
    return quote(unquote(path, "latin-1"), safe="/", encoding="latin-1") == path and (
        "\ufffd" in unquote(path)
    )


async def ask_all(
    gateway: Gateway, method: str, paths: list[str], who: str | None
) -> dict[str, list[int]]:
    answers = await asyncio.gather(*(send(gateway, head(method, path, who)) for path in paths))
    return {path: statuses(answer) for path, answer in zip(paths, answers, strict=True)}


@pytest.mark.parametrize("who", [None, "caller"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_no_detour_leads_anywhere(
    gateway: Gateway, echo: Echo, method: str, who: str | None
) -> None:
    for path, got in (await ask_all(gateway, method, list(DETOURS), who)).items():
        refusals = {401, 404, 405, 403} if canonical(path) else {400, 401, 404, 405}
        assert set(got) <= refusals, (path, got)
        assert len(got) == 1, (path, got)
    assert echo.seen == []


async def test_what_is_not_canonical_is_400_for_operators(gateway: Gateway, echo: Echo) -> None:
    corpora = [
        line
        for name in ("detours_to_deploy.txt", "ways_to_a_model.txt")
        for line in (CORPUS / name).read_text(encoding="latin-1").splitlines()
    ]
    paths = [*dict.fromkeys([*DETOURS, *corpora])]
    for path, got in (await ask_all(gateway, "POST", paths, "operator")).items():
        if not canonical(path):
            # Bytes that are no UTF-8 are left to the controller; no route here has room for them.
            assert got in ([400], [404]), (path, got)
            assert got == [400] or "%ff" in path.lower(), (path, got)
        else:
            assert got in ([404], [405], [200], [403]), (path, got)
    assert all(canonical(path) for path in echo.paths())


async def test_every_byte_means_the_same_to_both(gateway: Gateway, echo: Echo) -> None:
    written = [f"%{byte:02X}" for byte in range(256)] + [f"%{byte:02x}" for byte in range(256)]
    written += [chr(byte) for byte in range(0x21, 0x100)]
    paths = [f"/deploy/a{text}b/1" for text in written if text not in "?/"]
    for path, got in (await ask_all(gateway, "POST", paths, "operator")).items():
        # Bytes that are no UTF-8 are left to the controller.
        good = canonical(path) or (path.isascii() and is_canonical_but_for_utf8(path))
        assert got == ([200] if good else [400]), path
    assert {path for path in echo.paths() if canonical(path)} == {p for p in paths if canonical(p)}


@pytest.mark.parametrize("target", TARGETS)
async def test_targets_that_are_no_path(gateway: Gateway, echo: Echo, target: str) -> None:
    for method in ("GET", "POST", "OPTIONS", "CONNECT"):
        got = statuses(await send(gateway, head(method, target)))
        assert set(got) <= {0, 400, 405}, (method, target)
    assert echo.seen == []


async def test_a_path_reaches_the_controller_as_it_was_written(
    gateway: Gateway, echo: Echo
) -> None:
    path, query = "/deploy/a%20%25b~c/1", "wait=0&x=%2f..%2F%41//../;"
    assert statuses(await send(gateway, head("POST", f"{path}?{query}"))) == [200]
    assert [(seen.path, seen.query) for seen in echo.seen] == [(path, query)]


async def test_a_long_path_is_refused_and_not_let_through(gateway: Gateway, echo: Echo) -> None:
    for length in (3000, 7000, 9000, 40_000):
        for text in ("a" * length, "%20" * (length // 3), "a/" * (length // 2)):
            got = statuses(
                await send(gateway, head("GET", f"/static-offline-docs/{text}", "caller"))
            )
            assert got in ([200], [414]) if length < 9000 else got == [414], (length, text[:3])
