import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuitnn.errors import CircuitnnError
from circuitnn.units import format_value, parse_value, read_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4700", 4700.0), ("4.7k", 4700.0), ("4.7kOhm", 4700.0), ("4.7 kΩ".replace(" ", ""), 4700.0), ("1MEG", 1e6),
        ("1Megohm", 1e6), ("1M", 1e-3), ("10uF", 1e-5), ("10µF", 1e-5), ("10μF", 1e-5), ("51p", 51e-12),
        ("2.2e-6", 2.2e-6), ("2.2e-6F", 2.2e-6), ("3f", 3e-15), ("2t", 2e12), ("2G", 2e9), ("100n", 1e-7),
        ("5mil", 5 * 25.4e-6),
        ("-3m", -3e-3), (".5", 0.5), ("5.", 5.0), ("9V", 9.0), ("1A", 1.0), ("1e3k", 1e6), ("+1", 1.0),
        ("4k7", 4700.0), ("4K7Ohm", 4700.0), ("4R7", 4.7), ("2u2", 2.2e-6), ("1meg5", 1.5e6), (" 1k ", 1000.0),
    ],
)  # fmt: skip
def test_parse_value(text: str, value: float) -> None:
    assert parse_value(text) == value


@pytest.mark.parametrize("text", ["", "k", "4,7k", "1.2.3", "--1", "4k7k7", "nan", "inf", "1_000", "0x10", "٣"])
def test_what_is_no_number_is_an_error(text: str) -> None:
    with pytest.raises(CircuitnnError, match="expected a number"):
        parse_value(text)


def test_overflow_is_an_error() -> None:
    with pytest.raises(CircuitnnError, match="too large"):
        parse_value("1e400")


@pytest.mark.parametrize(("text", "ngspice"), [("4k7", 4000.0), ("2.2e-6F", 2.2e-21), ("4.7k", 4700.0)])
def test_reading_tells_what_ngspice_reads(text: str, ngspice: float) -> None:
    assert read_value(text).ngspice_value == pytest.approx(ngspice, rel=1e-12)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (4700.0, "Ω", "4.7 kΩ"), (51e-12, "F", "51 pF"), (999.96, "", "1 k"), (0.0, "Ω", "0 Ω"), (-1e-6, "V", "-1 µV"),
        (47.0, "", "47"), (1e-30, "F", "1e-30 F"), (1.23456e6, "Ω", "1.235 MΩ"), (math.inf, "s", "inf s"),
    ],
)  # fmt: skip
def test_format_value(value: float, unit: str, text: str) -> None:
    assert format_value(value, unit) == text


@given(st.floats(1e-14, 1e13))
def test_formatted_values_read_back_to_four_digits(value: float) -> None:
    # In SPICE, unlike in SI, M is milli.
    text = format_value(value).replace(" ", "").replace("M", "meg")
    assert parse_value(text) == pytest.approx(value, rel=5e-4)
