"""A figure of the data sheet for every part of the part library: how to measure it and what the data sheet allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from circuitnn.discretise import DiscreteCircuit
from circuitnn.netlist import parse_netlist


@dataclass(frozen=True)
class Check:
    """A figure of a data sheet. cards: a bench, with @ for what must differ from bench to bench; probe: a voltage or
    the current of a voltage source; figure: what the data sheet gives, from the probe's value; low, high: its range,
    in `unit`."""

    part: str
    condition: str
    cards: str
    probe: str
    low: float
    high: float
    source: str
    figure: Callable[[float], float] = abs
    unit: str = "V"


def forward(part: str, current: str, low: float, high: float, source: str) -> Check:
    cards = f"I@ 0 a@ {current}\nD@ a@ 0 {part}\n"
    return Check(part, f"forward voltage at {current}A", cards, "v(a@)", low, high, source)


def zener(part: str, current: str, nominal: float) -> Check:
    cards = f"I@ 0 k@ {current}\nD@ 0 k@ {part}\n"
    return Check(part, f"VZ at {current}A", cards, "v(k@)", 0.95 * nominal, 1.05 * nominal, "JEDEC registration, 5 %")


def gain(part: str, ma: float, volt: float, low: float, high: float, source: str) -> Check:
    """DC current gain of a common-base stage. volt: collector over base, negative for PNP."""
    sign = 1.0 if volt > 0.0 else -1.0
    letter = "X" if part.startswith("MPSA") else "Q"
    cards = f"VC@ c@ 0 {volt}\nVB@ b@ 0 0\nI@ e@ 0 {sign * ma}m\n{letter}@ c@ b@ e@ {part}\n"
    condition = f"current gain at {ma:g} mA, {abs(volt):g} V"
    return Check(part, condition, cards, "i(vb@)", low, high, source, lambda base: 1e-3 * ma / abs(base) - 1.0, "")


def saturation(part: str, volt: float, low: float, high: float, source: str) -> Check:
    cards = f"VD@ d@ 0 {volt}\nJ@ d@ 0 0 {part}\n"
    return Check(part, f"IDSS at {volt:g} V", cards, "i(vd@)", 1e-3 * low, 1e-3 * high, source, unit="A")


def pinch_off(part: str, current: str, low: float, high: float, source: str) -> Check:
    cards = f"VD@ d@ 0 15\nI@ s@ 0 {current}\nJ@ d@ 0 s@ {part}\n"
    return Check(part, f"-VGS(off) at {current}A", cards, "v(s@)", low, high, source)


def triode(part: str, plate: float, grid: float, ma: float, spread: float, source: str) -> Check:
    cards = f"VP@ p@ 0 {plate}\nVG@ g@ 0 {grid}\nX@ p@ g@ 0 {part}\n"
    low, high = 1e-3 * ma * (1.0 - spread), 1e-3 * ma * (1.0 + spread)
    return Check(part, f"plate current at {plate:g} V, {grid:g} V", cards, "i(vp@)", low, high, source, unit="A")


def pentode(
    part: str, plate: float, screen: float, grid: float, ma: float, spread: float, source: str, probe: str = "p"
) -> Check:
    cards = f"VP@ p@ 0 {plate}\nVS@ s@ 0 {screen}\nVG@ g@ 0 {grid}\nX@ p@ s@ g@ 0 {part}\n"
    condition = f"{'plate' if probe == 'p' else 'screen'} current at {plate:g} V, {screen:g} V, {grid:g} V"
    low, high = 1e-3 * ma * (1.0 - spread), 1e-3 * ma * (1.0 + spread)
    return Check(part, condition, cards, f"i(v{probe}@)", low, high, source, unit="A")


def swing(part: str, low: float, high: float, source: str) -> Check:
    cards = f"VP@ p@ 0 15\nVN@ n@ 0 -15\nVI@ i@ 0 1\nX@ i@ 0 p@ n@ o@ {part}\nR@ o@ 0 10k\n"
    return Check(part, "positive swing at +-15 V, 10 kohm", cards, "v(o@)", low, high, source)


def transconductance(part: str) -> Check:
    cards = f"VN@ n@ 0 -15\nI@ 0 b@ 500u\nVI@ i@ 0 1m\nX@ i@ 0 n@ b@ o@ {part}\nR@ o@ 0 1k\n"
    source = "National Semiconductor LM13700, Intersil CA3080: 6.7 to 13 mS"
    return Check(part, "gm at 500 uA", cards, "v(o@)", 6.7e-3, 13e-3, source, unit="S")


def photocell(part: str, ma: float, low: float, high: float, source: str) -> Check:
    cards = f"I@ 0 a@ 1u\nX@ a@ 0 {part} ILED={ma}m\n"
    return Check(part, f"resistance at {ma:g} mA", cards, "v(a@)", low, high, source, lambda volt: volt / 1e-6, "Ω")


CHECKS = (
    forward("1N4148", "5m", 0.62, 0.72, "Vishay 1N4448, the selected 1N4148"),
    forward("1N4001", "1", 0.8, 1.1, "Vishay: 1.1 V at most"),
    forward("1N34A", "5m", 0.2, 1.0, "1 V at most"),
    forward("1N270", "200m", 0.4, 1.0, "1 V at most"),
    forward("BAT41", "1m", 0.3, 0.45, "ST: 0.45 V at most"),
    forward("BAT41", "200m", 0.5, 1.0, "ST: 1 V at most"),
    forward("BAT46", "10m", 0.2, 0.45, "ST: 0.45 V at most"),
    forward("BAT46", "250m", 0.4, 1.0, "ST: 1 V at most"),
    forward("1N5817", "1", 0.3, 0.45, "onsemi: 0.45 V at most"),
    forward("LED_RED", "20m", 1.6, 2.4, "typical of AlGaAs lamps"),
    forward("LED_GREEN", "20m", 1.9, 2.6, "typical of GaP lamps"),
    forward("LED_WHITE", "20m", 2.9, 4.0, "Nichia NSPW500BS: 4 V at most"),
    zener("1N4728A", "76m", 3.3),
    zener("1N750", "20m", 4.7),
    zener("1N4733A", "49m", 5.1),
    zener("1N5231B", "20m", 5.1),
    zener("1N4735A", "41m", 6.2),
    zener("1N4739A", "28m", 9.1),
    zener("1N4742A", "21m", 12.0),
    gain("2N3904", 10, 1, 100, 300, "onsemi"),
    gain("2N2222", 10, 10, 75, 300, "onsemi: 75 at least"),
    gain("2N5088", 0.1, 5, 300, 900, "onsemi"),
    gain("2N5089", 0.1, 5, 400, 1200, "onsemi"),
    gain("2N4401", 150, 1, 100, 300, "onsemi"),
    gain("2SC1815", 2, 6, 200, 400, "Toshiba, class GR"),
    gain("2SC945", 1, 6, 200, 400, "NEC, class P"),
    gain("2SC828", 2, 5, 180, 360, "Panasonic, class R"),
    gain("2SC2240", 2, 6, 200, 700, "Toshiba, classes GR and BL"),
    gain("BC108", 2, 5, 200, 450, "Philips, class B"),
    gain("BC109", 2, 5, 420, 800, "Philips, class C"),
    gain("BC547B", 2, 5, 200, 450, "onsemi"),
    gain("BC549C", 2, 5, 420, 800, "onsemi"),
    gain("MPSA13", 10, 5, 5000, 100000, "onsemi: 5000 at least"),
    gain("2N3906", 10, -1, 100, 300, "onsemi"),
    gain("2N5087", 0.1, -5, 250, 800, "onsemi"),
    gain("2SA1015", 2, -6, 120, 240, "Toshiba, class Y"),
    gain("BC557B", 2, -5, 180, 475, "onsemi BC557B: 180 to 460; Philips: 220 to 475"),
    gain("OC44", 1, -6, 45, 225, "Mullard"),
    gain("AC128", 50, -1, 60, 175, "Philips"),
    gain("AC127", 50, 1, 60, 175, "as its complement"),
    gain("OC75", 3, -2, 60, 130, "Mullard"),
    gain("NKT275", 1, -5, 60, 130, "what fuzz pedals are built with"),
    saturation("J201", 15, 0.2, 1.0, "onsemi"),
    saturation("J113", 15, 2.0, 40.0, "onsemi: 2 mA at least"),
    saturation("2N5457", 15, 1.0, 5.0, "onsemi"),
    saturation("2N5458", 15, 2.0, 9.0, "onsemi"),
    saturation("2N5485", 15, 4.0, 10.0, "onsemi"),
    saturation("2N5952", 15, 4.0, 8.0, "Fairchild"),
    saturation("MPF102", 15, 2.0, 20.0, "onsemi"),
    saturation("2SK30A", 10, 1.2, 3.0, "Toshiba, class Y"),
    saturation("2SK117", 10, 2.6, 6.5, "Toshiba, class GR"),
    pinch_off("J201", "10n", 0.3, 1.5, "onsemi"),
    pinch_off("J113", "1u", 0.5, 3.0, "onsemi"),
    pinch_off("2N5457", "10n", 0.5, 6.0, "onsemi"),
    pinch_off("2N5458", "10n", 1.0, 7.0, "onsemi"),
    pinch_off("2N5485", "10n", 0.5, 4.0, "onsemi"),
    pinch_off("2N5952", "10n", 1.3, 3.5, "Fairchild"),
    pinch_off("MPF102", "2n", 1.0, 8.0, "onsemi: 8 V at most"),
    pinch_off("2SK30A", "100n", 0.4, 5.0, "Toshiba"),
    pinch_off("2SK117", "100n", 0.2, 1.5, "Toshiba"),
    Check(
        "BS170", "threshold at 1 mA", "I@ 0 d@ 1m\nM@ d@ d@ 0 0 BS170\n", "v(d@)", 0.8, 3.0, "onsemi"
    ),
    Check(
        "BS170", "drop at 200 mA, VGS 10 V", "VG@ g@ 0 10\nI@ 0 d@ 200m\nM@ d@ g@ 0 0 BS170\n", "v(d@)", 0.1, 1.0,
        "onsemi: 5 ohm at most",
    ),
    triode("12AX7", 250, -2, 1.2, 0.25, "RCA"),
    triode("12AX7_RSD1", 250, -2, 1.2, 0.3, "RCA; measured samples"),
    triode("12AX7_RSD2", 250, -2, 1.2, 0.3, "RCA; measured samples"),
    triode("12AX7_EHX1", 250, -2, 1.2, 0.3, "RCA; measured samples"),
    triode("12AU7", 250, -8.5, 10.5, 0.1, "RCA"),
    triode("12AT7", 250, -2, 10.0, 0.3, "RCA"),
    triode("12AY7", 250, -4, 3.0, 0.02, "RCA"),
    triode("6SN7", 250, -8, 9.0, 0.02, "RCA"),
    pentode("6L6GC", 250, 250, -14, 72.0, 0.15, "RCA"),
    pentode("EL34", 250, 265, -13.5, 100.0, 0.2, "Philips"),
    pentode("KT88", 250, 250, -15, 140.0, 0.15, "M-O Valve"),
    pentode("6550", 250, 250, -14, 140.0, 0.25, "Tung-Sol"),
    pentode("EL84", 250, 250, -7.3, 48.0, 0.02, "Philips"),
    pentode("EL84", 250, 250, -7.3, 5.5, 0.02, "Philips", probe="s"),
    pentode("6V6", 250, 250, -12.5, 45.0, 0.02, "RCA"),
    pentode("6V6", 250, 250, -12.5, 4.5, 0.02, "RCA", probe="s"),
    pentode("EF86", 250, 140, -2.2, 3.0, 0.02, "Philips"),
    pentode("EF86", 250, 140, -2.2, 0.6, 0.02, "Philips", probe="s"),
    swing("TL072", 12.0, 14.0, "Texas Instruments: 13.5 V, 12 at least"),
    swing("TL061", 10.0, 14.0, "Texas Instruments: 13.5 V, 10 at least"),
    swing("JRC4558", 12.0, 14.5, "New Japan Radio: 14 V, 12 at least"),
    swing("LM308", 13.0, 14.5, "National Semiconductor: 14 V, 13 at least"),
    swing("LM741", 12.0, 14.5, "Fairchild: 14 V, 12 at least"),
    swing("LM358", 13.0, 14.0, "Texas Instruments: vp - 1.5 V"),
    swing("NE5532", 12.0, 13.5, "Texas Instruments: 13 V, 12 at least"),
    swing("OPA134", 13.0, 14.0, "Texas Instruments: vp - 1.2 V"),
    transconductance("CA3080"),
    transconductance("LM13700"),
    photocell("VTL5C3", 1, 20e3, 40e3, "PerkinElmer: 30 kohm"),
    photocell("VTL5C3", 40, 1e3, 2e3, "PerkinElmer: 1.5 kohm"),
    photocell("VTL5C3_2", 1, 40e3, 70e3, "PerkinElmer: 55 kohm"),
)  # fmt: skip


@cache
def in_this_program(check: Check) -> float:
    """The figure of a part that the bench names and the part library has."""
    circuit = parse_netlist(f"bench\n{check.cards.replace('@', '1')}")
    assert [note for note in circuit.notes if "ignored" in note] == []
    model = DiscreteCircuit(circuit, 48000.0)
    solution = dict(zip(model.equations.unknowns, model.operating_point({}).z, strict=True))
    probe = check.probe.replace("@", "1")
    return check.figure(solution[probe if probe.startswith("v") else f"i({probe[2:-1].upper()})"])
