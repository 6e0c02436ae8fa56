"""The rows of a CSV body: those that pandas reads, or the body is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.gate import Gate, MalformedText, Validation
from tests.support.enforcement import enforced_csv
from tests.support.gates import MAPPING, column, gate, kinds, tensor


@pytest.mark.parametrize(
    "body",
    [
        "a,b\r\n1,x\r\n", "a,b\r1,x\r2,y", "\ufeffa,b\n1,x\n", '"a","b"\n"1","x"\n', "b,a\nx,1\n",
        "\n\na,b\n\n1,x\n \n2,y\n\n", 'a,b\n1,"x\ny"\n', "a,b\n1, x \n", '\ufeff"a",b\n1,x',
    ],
)  # fmt: skip
def test_bodies_that_pandas_reads_as_they_are_meant(body: str) -> None:
    specs = [column("long"), column("string", "b")]
    result = gate(*specs).check_csv(body)
    assert kinds(result) == []
    got = enforced_csv(body.removeprefix("\ufeff"), specs)
    assert result.rows == len(got)
    assert set(got["a"]) <= {1, 2}


@pytest.mark.parametrize(
    "body",
    [
        "a,b\n1,x\0y\n", "a,b\n1,x\n2\n", "a,b\n1,x,\n", "a,b\n1,x\n,,,\n", 'a,b\n1,x\n""\n',
        "a,b\n\r1,x", "a,b\r1,x\r,", "a,b\r1,x\r 2,y", 'a,b\n1,x\n"  "\n',
    ],
)  # fmt: skip
def test_bodies_that_pandas_reads_as_something_else(body: str) -> None:
    with pytest.raises(MalformedText):
        gate(column("long"), column("string", "b")).check_csv(body)


def test_an_empty_value_of_a_single_column_is_a_row_and_a_blank_line_is_none() -> None:
    specs = [column("string", required=False)]
    result = gate(*specs).check_csv('a\nx\n""\n\ny\n')
    assert (kinds(result), result.rows) == ([], 3)
    assert len(enforced_csv('a\nx\n""\n\ny\n', specs)) == 3
    assert kinds(gate(column("string")).check_csv('a\n""\n')) == ["null"]
    with pytest.raises(MalformedText, match="a line of only spaces, which pandas skips"):
        gate(*specs).check_csv("a\nx\n  \n")


def test_rows_without_a_known_column_vanish_in_pandas_and_are_refused() -> None:
    gated = gate(column("string", required=False), mode="coerce")
    result = gated.check_csv("x\n1\n2\n")
    assert (result.refused, sorted(kinds(result))) == (True, ["form", "unknown"])
    assert len(enforced_csv("x\n1\n2\n", [column("string", required=False)])) == 0


@given(st.text('a1,"\n\r \t#\x0b\xa0', max_size=25))
def test_what_is_a_row_to_the_gate_is_one_to_pandas(rows: str) -> None:
    specs = [column("string", required=False), column("string", "b", required=False)]
    try:
        result = gate(*specs).check_csv(f"a,b\n{rows}")
    except MalformedText:
        return
    if result.rows and not result.refused:
        assert len(enforced_csv(f"a,b\n{rows}", specs)) == result.rows


def test_a_model_without_a_signature_or_of_tensors_has_only_its_rows_counted() -> None:
    free = Gate(None, MAPPING, Validation.STRICT).check_csv("a\nNA\ninf\n")
    assert (free.count, free.rows) == (0, 2)
    assert kinds(gate(tensor("float64", -1, 1)).check_csv("a\nx\n")) == ["form"]
