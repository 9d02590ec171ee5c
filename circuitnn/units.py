"""Numbers as people write them on schematics: "4.7kOhm" <-> 4700.0."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from circuitnn.errors import CircuitnnError

# "mil" is not a power of ten and stands apart. There is no "a" (atto): to ngspice, 1A is one ampere.
_POWERS = {"t": 12, "g": 9, "meg": 6, "k": 3, "r": 0, "m": -3, "u": -6, "µ": -6, "μ": -6, "n": -9, "p": -12, "f": -15}
_MIL = 25.4e-6
_PREFIXES = {12: "T", 9: "G", 6: "M", 3: "k", 0: "", -3: "m", -6: "µ", -9: "n", -12: "p", -15: "f"}

# The unit is letters only. "meg" and "mil" must be tried before "m".
_NUMBER = re.compile(
    r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:e([+-]?[0-9]{1,4}))?(meg|mil|[tgkmuµμnpf])?[^\W\d_]*", re.IGNORECASE
)
_INFIX = re.compile(r"([+-]?[0-9]+)(meg|[tgkrmuµμnpf])([0-9]+)[^\W\d_]*", re.IGNORECASE)
_FARAD = re.compile(r"([+-]?[0-9.]+e[+-]?[0-9]{1,4})f", re.IGNORECASE)


@dataclass(frozen=True)
class Reading:
    """A number read from text. ngspice_value differs from value where ngspice reads the same text otherwise."""

    value: float
    ngspice_value: float


def parse_value(text: str) -> float:
    """The number that a SPICE value text means: "4.7kOhm" -> 4700.0, "1MEG" -> 1e6, "4k7" -> 4700.0.

    Suffixes t g meg k m u n p f (powers of ten) and mil (25.4 um), in any case, then any unit letters.
    Raises CircuitnnError.
    """
    return read_value(text).value


def read_value(text: str) -> Reading:
    """As parse_value, and also the number that ngspice reads. Raises CircuitnnError.

    The two differ for "4k7", which is 4k to ngspice, and for "2.2e-6F", which is 2.2e-21 (femto) to ngspice.
    """
    text = text.strip()
    if match := _INFIX.fullmatch(text):
        whole, suffix, fraction = match.groups()
        return Reading(_scaled(f"{whole}.{fraction}", 0, suffix, text), _scaled(whole, 0, suffix, text))
    match = _NUMBER.fullmatch(text)
    if match is None:
        hint = "numbers look like 4700, 4.7k, 2.2e-6, 10uF or 1MEG"
        if "\ufffd" in text:
            hint = "a letter was lost when the file was saved, perhaps the µ of micro: write u"
        raise CircuitnnError(f"expected a number, found {text!r}", hint)
    mantissa, exponent, suffix = match.groups()
    value = _scaled(mantissa, int(exponent or 0), suffix or "", text)
    # Whoever writes the power of ten out means the unit by what follows.
    farad = _FARAD.fullmatch(text)
    return Reading(float(farad[1]) if farad else value, value)


def _scaled(mantissa: str, exponent: int, suffix: str, text: str) -> float:
    suffix = suffix.lower()
    # Adding exponents instead of multiplying by 1e-12 gives the float nearest to what is written.
    value = float(f"{mantissa}e{exponent + _POWERS.get(suffix, 0)}") * (_MIL if suffix == "mil" else 1.0)
    if math.isinf(value):
        raise CircuitnnError(f"{text!r} is too large a number")
    return value


def format_value(x: float, unit: str = "") -> str:
    """The number for people, with an SI prefix and four significant digits: 4700.0, "Ω" -> "4.7 kΩ"."""
    if x == 0 or not math.isfinite(x):
        return f"{x:g} {unit}".rstrip()
    # Rounding comes first, so that 999.99 becomes 1 k and not 1000.
    rounded = f"{x:.3e}"
    exponent = 3 * (int(rounded.split("e")[1]) // 3)
    if exponent not in _PREFIXES:
        return f"{x:.4g} {unit}".rstrip()
    return f"{float(rounded) / 10.0**exponent:.4g} {_PREFIXES[exponent]}{unit}".rstrip()
