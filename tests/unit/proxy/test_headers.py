"""Which headers cross the proxy, and which end there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.core.errors import UnsupportedMediaType
from model_deployment.proxy.headers import (
    JSON,
    RawHeader,
    for_upstream,
    media_type,
    request_id,
    to_caller,
    to_model,
)

HOP_BY_HOP = (
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
)


def raw(*headers: tuple[str, str]) -> list[RawHeader]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


@pytest.mark.parametrize("name", HOP_BY_HOP)
def test_hop_by_hop_headers_go_neither_way(name: str) -> None:
    headers = raw((name, "x"), ("x-any", "7"))
    assert to_model(headers) == raw(("x-any", "7"))
    assert to_caller(headers) == raw(("x-any", "7"))


def test_the_name_of_a_request_is_not_the_caller_s_or_the_model_s_to_send() -> None:
    assert to_model(raw(("x-request-id", "7"))) == []
    assert to_caller(raw(("x-request-id", "7"))) == []


@pytest.mark.parametrize(
    "name",
    [
        "accept-encoding",
        "authorization",
        "cookie",
        "content-length",
        "expect",
        "host",
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-real-ip",
    ],
)
def test_a_model_is_not_told_who_calls(name: str) -> None:
    headers = raw(("content-type", "text/csv"), (name, "secret"), (name, "again"))
    assert to_model(headers) == raw(("content-type", "text/csv"))


@pytest.mark.parametrize("name", ["content-type", "content-encoding", "accept", "x-anything"])
def test_all_else_reaches_the_model_as_it_was(name: str) -> None:
    headers = raw((name, "a\xff"), (name, "b"))
    assert to_model(headers) == headers


@pytest.mark.parametrize("name", ["set-cookie", "server", "date"])
def test_a_model_does_not_speak_for_the_controller(name: str) -> None:
    headers = [(name.encode(), b"x"), (b"content-type", b"application/json")]
    assert to_caller(headers) == [(b"content-type", b"application/json")]


def test_an_answer_keeps_its_length_and_repeated_headers() -> None:
    headers = raw(("content-length", "3"), ("x-a", "1"), ("x-a", "2"))
    assert to_caller(headers) == headers


@pytest.mark.parametrize(
    "connection",
    [
        "x-internal",
        "X-Internal",
        "close, x-internal",
        "keep-alive ,\tX-INTERNAL ,",
        "x-internal,te",
    ],
)
def test_headers_that_connection_names_end_here(connection: str) -> None:
    named, kept = ("x-internal", "1"), ("x-external", "2")
    # Named after the header itself, and by the second of two: the order must not matter.
    headers = raw(named, ("connection", "close"), kept, ("connection", connection))
    assert to_model(headers) == raw(kept)
    assert to_caller(headers) == raw(kept)


def test_what_one_request_names_is_passed_on_with_the_next() -> None:
    to_model(raw(("connection", "x-internal")))
    assert to_model(raw(("x-internal", "1"))) == raw(("x-internal", "1"))


@pytest.mark.parametrize("connection", ["", ",", " , ", "close"])
def test_an_empty_connection_header_names_nothing(connection: str) -> None:
    assert to_model(raw(("connection", connection), ("x-a", "1"))) == raw(("x-a", "1"))


@pytest.mark.parametrize("given", [b"me-1", b"a", b"A.b_c-9", b"x" * 128])
def test_a_sane_name_of_a_request_is_kept(given: bytes) -> None:
    assert request_id({b"x-request-id": given}) == given


@pytest.mark.parametrize(
    "given", [b"", b"a b", b"a\n", b"\xff", b"<b>", b"x" * 129, b"a/b", b"a,b"]
)
def test_another_one_gets_a_new_name(given: bytes) -> None:
    made = [request_id({b"x-request-id": given}), request_id({})]
    assert all(len(one) == 32 and one.isalnum() for one in made)
    assert len({given, *made}) == 3


def test_a_question_has_one_type_and_one_name() -> None:
    sent = raw(("content-type", "x; y=1"), ("content-language", "de"), ("accept", "a"))
    assert for_upstream(sent, b"7", JSON) == (
        b"accept: a\r\ncontent-type: application/json\r\nx-request-id: 7\r\n"
    )
    assert for_upstream(sent, b"7", None).startswith(b"content-type: x; y=1\r\n")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("application/json", JSON),
        ("Application/JSON ; charset=UTF-8", JSON),
        ('application/json;charset="utf-8"', JSON),
        ("application/json;", JSON),
        ("text/csv; charset=utf-8", b"text/csv"),
        ("application/vnd.apache.parquet", b"application/vnd.apache.parquet"),
    ],
)
def test_a_type_has_many_spellings(given: str, found: bytes) -> None:
    assert media_type({b"content-type": given.encode()}) == found


@pytest.mark.parametrize(
    "given",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin-1",
        "application/json; format=pandas-split",
        "application/jsonx",
        "json",
        "application/json, text/csv",
    ],
)
def test_what_no_model_reads_is_refused(given: str) -> None:
    with pytest.raises(UnsupportedMediaType, match="cannot"):
        media_type({b"content-type": given.encode()})
    with pytest.raises(UnsupportedMediaType):
        media_type({})


@pytest.mark.parametrize(
    ("given", "named", "instead"),
    [
        ("", "it has no Content-Type", "application/json, text/csv"),
        ("application/json; format=pandas-split", "'format=pandas-split'", '{"dataframe_split": {'),
        ("application/json;Format=Pandas-Split", "'format=pandas-split'", '{"dataframe_split": {'),
        ('application/json; format="pandas-split"', "format=", '{"dataframe_split": {'),
        ("application/json; format=pandas-records", "'format=pandas-records'", "dataframe_records"),
        (
            "application/json; charset=utf-8; format=pandas-records",
            "'format=pandas-records'",
            "dataframe_records",
        ),
        ("application/json-numpy-split", "'application/json-numpy-split'", "dataframe_split"),
        ("application/json; version=2", "'version=2'", "Send it without that"),
        ("text/csv; header=present", "'header=present'", "Send it without that"),
        ("application/json; charset=latin-1", "'latin-1'", "only utf-8"),
        ("application/x-ndjson", "'application/x-ndjson'", "text/csv"),
        ("application/x-www-form-urlencoded", "'application/x-www-form-urlencoded'", "curl sends"),
        ("multipart/form-data; boundary=x", "'boundary=x'", "application/json"),
        ("\x1b[31m\xff", "'\\x1b[31m\\xff'", "application/json"),
        ("a" * 5000, f"'{'a' * 80}'", "application/json"),
    ],
)
def test_a_refusal_names_what_is_not_understood_and_what_to_send(
    given: str, named: str, instead: str
) -> None:
    with pytest.raises(UnsupportedMediaType) as refused:
        media_type({b"content-type": given.encode("latin-1")})
    assert named in refused.value.detail
    assert instead in refused.value.detail
    assert len(refused.value.detail) < 400
    assert refused.value.detail.isprintable()


def test_a_packed_body_is_refused() -> None:
    packed = {b"content-type": JSON, b"content-encoding": b"gzip"}
    with pytest.raises(UnsupportedMediaType, match="'gzip': send it without Content-Encoding"):
        media_type(packed)
    assert media_type(packed | {b"content-encoding": b"Identity"}) == JSON


tokens = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12)
fields = st.tuples(
    st.sampled_from([*HOP_BY_HOP, "authorization", "cookie"]) | tokens,
    st.text(st.characters(max_codepoint=255), max_size=20) | tokens,
)


@given(st.lists(fields, max_size=8), st.lists(tokens, max_size=3))
def test_nothing_is_added_or_reordered_and_what_must_end_ends(
    headers: list[tuple[str, str]], named: list[str]
) -> None:
    passed = to_model(raw(*headers, ("connection", ",".join(named))))
    left = iter(raw(*headers))
    assert all(header in left for header in passed)
    assert not {name.decode() for name, _ in passed} & {
        *HOP_BY_HOP,
        "authorization",
        "cookie",
        *named,
    }
