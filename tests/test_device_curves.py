"""DC curves of the semiconductor devices against ngspice, at 27 and at 60 degrees Celsius."""

from __future__ import annotations

import re
from dataclasses import dataclass

import ngspice
import numpy as np
import pytest
from circuits import parse

from circuitnn.discretise import DiscreteCircuit

pytestmark = pytest.mark.ngspice
TIGHT = ".options reltol=1e-8 abstol=1e-16 vntol=1e-12"


@dataclass(frozen=True)
class Sweep:
    """`source` goes from start to stop in steps (V); probes: voltage sources whose currents are compared.

    floor: current in ampere that counts as none: what ngspice bends reverse currents by, and the leakage of 1 pS.
    """

    cards: str
    source: str
    start: float
    stop: float
    step: float
    probes: tuple[str, ...]
    floor: float = 5e-11
    rtol: float = 3e-5


def diode(model: str, start: float, stop: float, element: str = "", **more: float) -> Sweep:
    return Sweep(f"V1 a 0 0\nD1 a 0 DM{element}\n.model DM D({model})", "V1", start, stop, 0.05, ("V1",), **more)


def output(
    letter: str, nodes: str, model: str, control: float, stop: float, element: str = "", more: str = ""
) -> Sweep:
    """Output characteristic, from the reversed device through 0 into saturation or the active region."""
    cards = f"VC c 0 0\nVB b 0 {control}\n{letter}1 {nodes} DM{element}\n{more}\n.model DM {model}"
    return Sweep(cards, "VC", -0.2 * np.sign(stop), stop, stop / 60.0, ("VC", "VB"))


def transfer(letter: str, nodes: str, model: str, supply: float, start: float, stop: float, more: str = "") -> Sweep:
    cards = f"VC c 0 {supply}\nVB b 0 0\n{letter}1 {nodes} DM\n{more}\n.model DM {model}"
    return Sweep(cards, "VB", start, stop, (stop - start) / 60.0, ("VC", "VB"))


SMALL_SIGNAL = (
    "IS=2.682n N=1.836 RS=.5664 IKF=44.17m XTI=3 EG=1.11 CJO=4p M=.3333 VJ=.5 FC=.5 ISR=1.565n NR=2 BV=100 IBV=100u"
)
AUDIO_NPN = (
    "NPN(IS=7.049f XTI=3 EG=1.11 VAF=116.3 BF=375.5 ISE=7.049f NE=1.281 IKF=4.589 XTB=1.5 BR=2.611 NC=2 ISC=121.7p "
    "IKR=5.313 RC=1.32 RB=20 RE=0.2 VAR=24)"
)
SWEEPS = {
    "diode": diode("IS=2.52n N=1.752", -2.0, 0.8, floor=3e-9),
    "germanium diode": diode("IS=200n N=1.3 EG=0.67 XTI=2", -1.0, 0.4, floor=3e-7),
    "diode with area and series resistance": diode("IS=1n N=1.5 RS=5 TNOM=45", -1.0, 1.2, " area=2.5", floor=3e-9),
    "diode of its own temperature": diode("IS=1n N=1.5", -1.0, 0.8, " temp=80", floor=3e-7),
    "small-signal diode, complete": diode(SMALL_SIGNAL, -1.0, 1.2, floor=1e-7),
    "high injection": diode("IS=1f N=1 IKF=1m", -0.5, 1.1),
    "zener": diode("IS=1n N=1.4 BV=5.1 IBV=5m NBV=0.8 RS=3", -5.6, 0.8, floor=1e-7, rtol=1e-4),
    "zener that drifts": diode("IS=1n N=1.4 BV=9.1 IBV=1m TCV=-5m", -9.8, 0.8, floor=1e-7, rtol=1e-4),
    "zener, area": diode("IS=1n N=1.2 BV=5 IBV=1m", -5.3, 0.8, " area=2", floor=1e-7, rtol=1e-4),
    "zener without a knee": diode("IS=1n N=1.2 BV=5 IBV=20n", -5.6, 0.6, floor=1e-7, rtol=1e-3),
    "zeners in series": Sweep(
        "V1 a 0 0\nR1 a b 100\nD1 c b DM\nD2 c 0 DY\n"
        ".model DM D(IS=1f BV=4.7 IBV=5m)\n.model DY D(IS=10f N=1.3 BV=3.3 IBV=2m)",
        "V1", -8.0, 8.0, 0.1, ("V1",), rtol=2e-4,
    ),
    "zeners antiparallel": Sweep(
        "V1 a 0 0\nR1 a b 100\nD1 b c DM\nD2 0 c DM\nD3 c b DY\nR2 c 0 1k\n"
        ".model DM D(IS=1f BV=4.7 IBV=5m RS=2)\n.model DY D(IS=10f N=1.3 BV=3.3 IBV=2m)",
        "V1", -8.0, 8.0, 0.1, ("V1",), rtol=2e-4,
    ),
    "npn": output("Q", "c b 0", "NPN(IS=10f BF=200 BR=3 VAF=50)", 0.65, 8.0),
    "npn with area": output("Q", "c b 0", "NPN(IS=10f BF=200 BR=3 VAF=50 NF=1.1 NR=1.2)", 0.65, 8.0, " area=3 areab=1"),
    "pnp": output("Q", "c b 0", "PNP(IS=20f BF=150 BR=2 VAF=40 XTB=1.5)", -0.65, -8.0),
    "gummel-poon npn": output("Q", "c b 0", AUDIO_NPN, 0.7, 8.0),
    "gummel-poon npn, transfer": transfer("Q", "c b 0", AUDIO_NPN, 5.0, -0.5, 0.95),
    "gummel-poon npn, reversed": transfer("Q", "c b 0", AUDIO_NPN, -1.0, -0.5, 0.8),
    "gummel-poon pnp": output("Q", "c b 0", AUDIO_NPN.replace("NPN", "PNP"), -0.7, -8.0),
    "roll-off exponent": transfer("Q", "c b 0", "NPN(IS=10f BF=300 IKF=20m NKF=0.7 VAR=8)", 5.0, 0.0, 0.95),
    "njf": output("J", "c b 0", "NJF(VTO=-2 BETA=1.3m LAMBDA=5m IS=10f RD=20 RS=30)", -0.5, 12.0),
    "njf, transfer": transfer("J", "c b 0", "NJF(VTO=-2 BETA=1.3m LAMBDA=5m IS=10f TCV=2m BEX=-1.5)", 9.0, -4.0, 0.7),
    "njf with tail": output("J", "c b 0", "NJF(VTO=-3 BETA=1m LAMBDA=5m B=0.6 PB=0.8)", -1.0, 10.0, " area=2"),
    "njf, other coefficients": transfer(
        "J", "c b 0", "NJF(VTO=-2 BETA=1m VTOTC=-2.5m BETATCE=-.5 XTI=3 EG=1.2 IS=1f)", 9.0, -4.0, 0.7
    ),
    "pjf": output("J", "c b 0", "PJF(VTO=-1.5 BETA=1m LAMBDA=10m RS=10)", 0.4, -12.0),
    "njf gate": transfer("J", "c b 0", "NJF(VTO=-2 BETA=1m IS=33f)", 1.0, -1.0, 0.8),
    "nmos": output("M", "c b 0 0", "NMOS(VTO=1 KP=2m LAMBDA=20m GAMMA=0.6 PHI=0.7)", 3.0, 9.0, " W=20u L=2u"),
    "nmos, body effect": output(
        "M", "c b 0 s", "NMOS(VTO=0.8 KP=1m GAMMA=0.6 LAMBDA=20m RD=50 RS=20)", 3.0, 9.0, " W=20u L=5u", "VS s 0 -2"
    ),
    "nmos, bulk forward": transfer("M", "c b 0 s", "NMOS(VTO=0.8 KP=1m GAMMA=0.6)", 5.0, -1.0, 3.0, "VS s 0 0.5"),
    "nmos from oxide": output(
        "M", "c b 0 0", "NMOS(TOX=50n UO=500 VTO=1 LD=0.2u JS=1m)", 3.0, 9.0, " W=20u L=5u AD=10n AS=5n"
    ),
    "pmos": output("M", "c b 0 0", "PMOS(VTO=-1.2 KP=1m LAMBDA=20m GAMMA=0.4)", -3.0, -9.0, " W=10u L=2u"),
    "pmos, transfer": transfer("M", "c b 0 s", "PMOS(VTO=-1.2 KP=1m GAMMA=0.4)", -5.0, 1.0, -4.0, "VS s 0 1"),
}  # fmt: skip


@pytest.mark.parametrize("celsius", [27, 60])
@pytest.mark.parametrize("name", SWEEPS)
def test_curve_agrees_with_ngspice(name: str, celsius: int) -> None:
    sweep = SWEEPS[name]
    cards = f"{sweep.cards}\n.temp {celsius}"
    command = f"dc {sweep.source} {sweep.start} {sweep.stop} {sweep.step}"
    expected = ngspice.vectors(f"test\n{cards}\n{TIGHT}", command, [f"i({probe.lower()})" for probe in sweep.probes])
    model = DiscreteCircuit(parse(re.sub(r" areab=\S+", "", cards)), 48000.0)
    rows = [model.equations.unknowns.index(f"i({probe})") for probe in sweep.probes]
    found, point = [], None
    for value in expected["scale"]:
        point = model.operating_point({sweep.source: float(value)}, point)
        found.append(point.z[rows])
    for probe, currents in zip(sweep.probes, np.array(found).T, strict=True):
        np.testing.assert_allclose(currents, expected[f"i({probe.lower()})"], rtol=sweep.rtol, atol=sweep.floor)
