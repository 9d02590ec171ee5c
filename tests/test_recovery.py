"""The truth comes back: fits to recordings that ngspice made from netlists whose parts had drifted.

Single values are often not identifiable (an RC low-pass tells only R1 * C1), so each netlist lists the quantities that
its equations determine when the levels are known.
"""

from collections.abc import Callable, Mapping

import pytest
from reference.load import recovery_case

from circuitnn import CircuitModel, Recording, fit, read_netlist

Values = Mapping[str, float]


def feedback(v: Values) -> float:
    """R6 and the drive pot in series: a .param position enters through its audio taper."""
    return 51e3 + 10.0 + 500e3 * (81.0 ** v["drive"] - 1.0) / 80.0


CLIPPER: dict[str, Callable[[Values], float]] = {
    "R1*C1": lambda v: v["R1"] * v["C1"],
    "R1*IS": lambda v: v["R1"] * v["DCLIP.is"],
    "N": lambda v: v["DCLIP.n"],
}
TS_STAGE: dict[str, Callable[[Values], float]] = {
    "R4*C3": lambda v: v["R4"] * v["C3"],
    "R4*C4": lambda v: v["R4"] * v["C4"],
    "R4*IS": lambda v: v["R4"] * v["DCLIP.is"],
    "gain": lambda v: feedback(v) / v["R4"],
    "N": lambda v: v["DCLIP.n"],
}
IDENTIFIABLE: dict[str, dict[str, Callable[[Values], float]]] = {
    "rc_lowpass": {"R1*C1": CLIPPER["R1*C1"]},
    "diode_clipper": CLIPPER,
    "series_diode_clipper": CLIPPER,
    "fmv_tone_stack": {
        **{f"R1*{c}": lambda v, c=c: v["R1"] * v[c] for c in ("C2", "C3")},
        **{f"{pot}/R1": lambda v, pot=pot: v[pot] / v["R1"] for pot in ("middle_pot", "bass_pot")},
        # Apart they are told by next to nothing: 9 % of their ratio changes the output by less than -110 dB.
        "treble_pot*C1": lambda v: v["treble_pot"] * v["C1"],
    },
    "ts808_clipper": {**TS_STAGE, "C2": lambda v: v["C2"]},
    # C1 and C2 make two high-passes within 5 % of each other, which tell their product. The values of the tone network
    # are told by combinations that have no short formula; the error of the output stands for them.
    "ts808": {**TS_STAGE, "C1*C2": lambda v: v["C1"] * v["C2"], "C7": lambda v: v["C7"], "C8": lambda v: v["C8"]},
}


@pytest.mark.parametrize("name", IDENTIFIABLE)
def test_every_identifiable_quantity_comes_back(name: str) -> None:
    case = recovery_case(name)
    model = CircuitModel(read_netlist(case.netlist), case.sample_rate, oversample=16)
    recording = Recording(case.input, case.output, int(case.sample_rate), name=name)
    result = fit(model, [recording], input_level=1.0, output_gain=1.0)
    assert result.esr < 1e-5
    assert result.failures == 0
    errors = {
        quantity: formula(result.values) / formula(case.truth) - 1.0 for quantity, formula in IDENTIFIABLE[name].items()
    }
    assert max(map(abs, errors.values())) < 0.005, errors
    started = {
        quantity: formula(result.nominal) / formula(case.truth) - 1.0
        for quantity, formula in IDENTIFIABLE[name].items()
    }
    assert max(map(abs, started.values())) > 0.02, "the netlist was right from the start: nothing was recovered"
