"""Durations and sizes as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.core.units import duration, size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("90", 90),
        ("0.5", 0.5),
        (".25", 0.25),
        ("1e3", 1000),
        ("-1", -1),  # a limit of the setting refuses it, in its own words
        ("500ms", 0.5),
        ("30s", 30),
        ("30 s", 30),
        (" 30sec ", 30),
        ("5m", 300),
        ("5min", 300),
        ("1.5h", 5400),
        ("12h", 43200),
        ("1d", 86400),
        ("1D", 86400),
        ("7 days", 604800),
        ("2w", 1209600),
        ("1h30m", 5400),
        ("1 hour 30 minutes", 5400),
        ("1d12h", 129600),
        ("1m0.5s", 60.5),
        ("0d", 0),
    ],
)
def test_reads_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds


def test_the_unit_of_the_place_is_that_of_a_bare_number() -> None:
    assert duration("30", "d") == 30
    assert duration("12h", "d") == 0.5
    assert duration("7d", "h") == 168
    assert duration("90m", "h") == 1.5


@pytest.mark.parametrize(
    "text",
    ["", " ", "s", "1x", "1 2", "1h30", "30m1h", "1h1h", "1d-12h", "-1d", "1,5h", "1y", "P1D", "1:30",
     "1h30m!", "٣s", "1e3s", "1" * 200 + "s"],
)  # fmt: skip
def test_says_what_to_write_instead(text: str) -> None:
    with pytest.raises(
        ValueError, match="write a number of hours, or a duration like 30s, 5m, 12h, 1d or 1h30m"
    ):
        duration(text, "h")


@given(st.floats(min_value=0, max_value=1e9), st.sampled_from(["s", "m", "h", "d"]))
def test_a_number_with_its_unit_is_that_many(number: float, unit: str) -> None:
    text = f"{number:f}"
    assert duration(f"{text}{unit}", unit if unit != "m" else "s") == pytest.approx(
        float(text) * (60 if unit == "m" else 1)
    )


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("4096", 4096),
        ("4096.0", 4096),
        ("100b", 100),
        ("1k", 1000),
        ("1kB", 1000),
        ("1KB", 1000),
        ("1KiB", 1024),
        ("1Ki", 1024),
        ("10MB", 10_000_000),
        ("10M", 10_000_000),
        ("512MiB", 512 * 1024**2),
        ("512 MiB", 512 * 1024**2),
        ("1.5GiB", 3 * 1024**3 // 2),
        ("1G", 10**9),
        ("2Ti", 2 * 1024**4),
        ("0.1KiB", 102),
    ],
)
def test_reads_sizes(text: str, count: int) -> None:
    assert size(text) == count


@pytest.mark.parametrize(
    "text", ["", "MB", "1.5", "10 parsecs", "-1MB", "1e6", "1_000", "10MBs", "1KB2", "inf"]
)
def test_says_what_a_size_looks_like(text: str) -> None:
    with pytest.raises(ValueError, match=r"write a whole number of bytes, or a size like 10MB"):
        size(text)


@given(st.integers(min_value=0, max_value=2**80))
def test_whole_numbers_stay_exact(count: int) -> None:
    assert size(str(count)) == count
    assert size(f"{count}KiB") == count * 1024
