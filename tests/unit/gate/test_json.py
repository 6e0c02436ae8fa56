"""Strict JSON: what everybody reads alike passes, with Python's own values; the rest is a 400."""

import json
import math
from time import process_time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model_deployment.gate import MalformedJson, dumps, has_nan, loads
from tests.support.cases import each

DEEP = 64


def nested(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    return (opening * depth + closing * depth).encode()


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (b'{"a":1,"a":1}', "a"),
        (b'{"a":1,"b":2,"a":3}', "a"),
        (b'{"a":1,"\\u0061":2}', "a"),
        (b'{"a" :1,"a": 2}', "a"),
        (b'{"a":1,"a"\n:2}', "a"),
        (b'{"a":1,"a"\t:2}', "a"),
        (b'{"a":1,"a"\r:2}', "a"),
        (b'{"":1,"":2}', ""),
        (b'{"a":":","a":":"}', "a"),
        (b'{"a":1,"a":"\\u003a"}', "a"),
        (b'{"a":"\\":","a":"\\":"}', "a"),
        (b'{"a":[{"b":1,"b":2}]}', "b"),
        (b'[[[{"x":{"y":[{"z":1,"z":1}]}}]]]', "z"),
        (b'{"dataframe_records":[{"a":1},{"a":1,"b":2,"b":3}]}', "b"),
        (b'{"a":{"x":1},"a":{"x":1}}', "a"),
        (b'{"a":{"x":{"y":1}},"a":2}', "a"),
        (b'{"a":"{","a":"}"}', "a"),
        ('{"é":1,"\\u00e9":2}'.encode(), "é"),
        (b'{"' + b"k" * 1000 + b'":1,"' + b"k" * 1000 + b'":1}', "k" * 60),
    ],
)
def test_a_key_twice_is_refused_and_named(body: bytes, key: str) -> None:
    with pytest.raises(MalformedJson, match="twice") as caught:
        loads(body)
    assert ascii(key)[1:-1] in caught.value.detail
    assert len(caught.value.detail) < 200
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "text",
    [
        '{"a":":","b":"::"}',
        '{"a:":1,"b":":x"}',
        '{"a":"\\":","b":" : "}',
        '{"a":"12:30","b":{"c":"x\\\\","d":"{[:"}}',
        '{"a" : 1 , "b"\n:\t2}',
        '[{"a":1},{"a":1}]',
        '{"a":{"a":{"a":1}}}',
        '{"a":"\\u003a"}',
        '{"a":"\\"b\\":1","b":1}',
        "{}",
        "[[],{},[{}]]",
        '{"a":[],"b":{}}',
    ],
)
def test_colons_and_brackets_within_strings_are_no_keys(text: str) -> None:
    assert loads(text.encode()) == json.loads(text)


@each(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"NaN",
        b'{"a":-NaN}',
        b'{"a":NaN,"a":1}',
        b'{"a":NaN,"b":Infinity}',
        b'{"a":NaN1}',
        b'{"a":NaN',
        b'{"a":"\\ud800","b":NaN}',
        b'{"a":Infinity}',
        b"[-Infinity]",
        b'{"a":nan}',
        b"[1e400]",
        b"[-1e400]",
        b"[1,]",
        b"[01]",
        b"[+1]",
        b"[.5]",
        b"{'a':1}",
        b"{a:1}",
        b'{"a":1}x',
        b'{"a":1}{"a":1}',
        b"[1]\x00",
        b"// comment\n[1]",
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"),
        '{"a":1}'.encode("utf-16-le"),
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\xc0\xaf"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\udc00\\ud800"}',
        b'{"\\ud83d":1}',
        b'["a\tb"]',
        b'["\\x41"]',
        b"[" + b"1" * 5000 + b"]",
        b"[-" + b"1" * 5000 + b"]",
        b"[" + b"1" * 400 + b"]",
    ],
)
def test_what_is_no_json_or_not_the_same_to_all_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedJson) as caught:
        loads(body)
    assert caught.value.status == 400
    assert caught.value.detail.startswith("cannot ")
    assert len(caught.value.detail) < 200


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_sixty_four_levels_pass_and_one_more_does_not(opening: str, closing: str) -> None:
    def body(depth: int) -> bytes:
        return (opening * (depth - 1) + "[]" + closing * (depth - 1)).encode()

    assert loads(body(DEEP)) is not None
    with pytest.raises(MalformedJson, match="deeper than 64"):
        loads(body(DEEP + 1))


@pytest.mark.parametrize(
    "body",
    [
        nested(65),
        nested(1000),
        nested(1024),
        nested(10_000),
        nested(1_000_000),
        b"[" * 10_000,
        b'{"a":' * 10_000,
        b'{"a":' + nested(1000) + b',"a":1}',
        b'{"a":' + nested(70) + b',"a":1}',
    ],
)
def test_deep_nesting_is_never_more_than_a_400(body: bytes) -> None:
    with pytest.raises(MalformedJson):
        loads(body)


def test_many_brackets_side_by_side_are_not_deep() -> None:
    assert loads(b"[" + b"[],{}," * 1000 + b"1]")[-1] == 1


@pytest.mark.parametrize(
    "number",
    [
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775808",
        "-9223372036854775809",
        "100000000000000000001",
        "1" * 300,
        "-" + "9" * 300,
        "0.00012345678901234567",
        "1e22",
        "-0.0",
    ],
)
def test_integers_of_any_length_keep_their_digits(number: str) -> None:
    for text in (number, f"[{number}]", f'{{"a":{number}}}', f'["1",  {number}]'):
        value = loads(text.encode())
        assert value == json.loads(text)
        assert repr(value) == repr(json.loads(text))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from([":", '":', '" :', "{", "[", "}", "\\", '\\":', "a: 12345678901234567890"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=3), inner, max_size=4
        )
    ),
    max_leaves=20,
)
separators = st.sampled_from([(",", ":"), (", ", ": "), (" ,", " :"), ("\n,", "\t:\r")])


@given(json_values, separators, st.booleans())
@example({"a": '":'}, (",", ":"), True)
def test_reads_as_python_does(value: Any, between: tuple[str, str], escaped: bool) -> None:
    text = json.dumps(value, separators=between, ensure_ascii=escaped)
    found = loads(text.encode())
    assert found == json.loads(text)
    assert repr(found) == repr(json.loads(text))


@given(json_values, separators)
def test_finds_a_key_twice_anywhere(value: Any, between: tuple[str, str]) -> None:
    colon = between[1]
    inner = json.dumps(value, separators=between)
    for text in (
        f'{{"k"{colon}{inner},"k"{colon}1}}',
        f'[{{"x"{colon}{{"k"{colon}1,"k"{colon}{inner}}}}}]',
        f'{{"k"{colon}{inner},"\\u006b"{colon}{inner}}}',
    ):
        with pytest.raises(MalformedJson, match="'k' occurs twice"):
            loads(text.encode())


@given(st.binary(max_size=40) | st.text(alphabet='{}[]",:1eE.-\\ua0 tn').map(str.encode))
def test_is_never_more_surprised_than_that(body: bytes) -> None:
    try:
        value = loads(body)
    except MalformedJson:
        return
    assert value == json.loads(body)


@given(json_values)
def test_writes_what_it_read(value: Any) -> None:
    assert loads(dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("[NaN]", [None]),
        ('{"NaN": NaN, "b": [1.5, NaN]}', {"NaN": None, "b": [1.5, None]}),
        (
            '["NaN", NaN, "\\"NaN", "\\\\", NaN, "é, NaN"]',
            ["NaN", None, '"NaN', "\\", None, "é, NaN"],
        ),
        ("[NaN, 123456789012345678901234567890]", [None, 123456789012345678901234567890]),
    ],
)
def test_a_bare_nan_is_a_missing_value(text: str, read: Any) -> None:
    assert loads(text.encode()) == read
    assert has_nan(text.encode())


@pytest.mark.parametrize("text", ['["NaN"]', '{"a NaN": "\\"NaN"}', "[1]"])
def test_a_nan_in_a_string_is_text(text: str) -> None:
    assert not has_nan(text.encode())
    assert loads(text.encode()) == json.loads(text)


@given(
    st.recursive(
        st.sampled_from([math.nan, None, "NaN", '"NaN', "\\", 1.5, "é"]),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=20,
    ).filter(lambda value: type(value) in (list, dict))
)
def test_nan_is_read_wherever_python_writes_it(value: Any) -> None:
    body = json.dumps(value).encode()
    assert loads(body) == json.loads(body, parse_constant=lambda _: None)


def test_bodies_of_millions_of_quotes_and_nans_are_read_in_one_pass() -> None:
    for body in (b'"NaN' * 500_000, b"[" + b"NaN," * 500_000, b'["' + b"\\\\" * 500_000 + b"NaN"):
        begin = process_time()
        with pytest.raises(MalformedJson):
            loads(body)
        assert process_time() - begin < 10
