"""Small circuits, one for each kind of element and each way of eliminating it, that many tests run through.

`CASES` maps a name to a `Case`. Every node is an output, so that a test sees the whole solution.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from circuitnn.circuit import Circuit
from circuitnn.discretise import DiscreteCircuit
from circuitnn.netlist import parse_netlist
from circuitnn.schemes import TRAPEZOIDAL, Scheme


@dataclass(frozen=True)
class Case:
    """netlist: the cards. amplitude: peak of the input [V or A] at which every device conducts strongly at times.
    plain: whether all port currents can be free (the classic DK-method)."""

    netlist: str
    amplitude: float = 1.0
    plain: bool = True
    inputs: int = 1

    @cached_property
    def circuit(self) -> Circuit:
        return parse(self.netlist)


def parse(cards: str) -> Circuit:
    """The circuit of some cards. Without an output card every node is an output, in order of appearance."""
    circuit = parse_netlist(f"test\n{cards}\n.end\n")
    if circuit.outputs:
        return circuit
    outputs = "\n".join(f"*@ output {node}" for node in circuit.nodes)
    return parse_netlist(f"test\n{cards}\n{outputs}\n.end\n")


SILICON = ".model DS D(IS=2.52n N=1.752)"

CASES = {
    "rc": Case("Vin in 0 0\nR1 in out 10k\nC1 out 0 10n\n*@ input Vin"),
    "rlc": Case("Vin in 0 0\nR1 in a 1k\nL1 a out 50m\nC1 out 0 20n\nR2 out 0 22k\n*@ input Vin"),
    "single_diode": Case(f"Vin in 0 0\nR1 in out 2.2k\nC1 out 0 10n\nD1 out 0 DS\n{SILICON}\n*@ input Vin", 2.0),
    "antiparallel": Case(
        "Vin in 0 0\nR1 in out 2.2k\nC1 out 0 10n\nD1 out 0 DS area=2\nD2 0 out DS\nD3 0 out DS\n"
        f"{SILICON}\n*@ input Vin",
        2.0,
    ),
    "series_diodes": Case(
        f"Vin in 0 0\nR1 in out 2.2k\nC1 out 0 10n\nD1 out up DS\nD2 up 0 DS\nD3 0 out DS\n{SILICON}\n*@ input Vin",
        3.0,
        plain=False,
    ),
    "breakdown": Case(
        "Vin in 0 0\nR1 in out 1k\nC1 out 0 10n\nD1 0 out DZ\n.model DZ D(IS=1n N=1.3 BV=3.3 IBV=1m)\n*@ input Vin", 6.0
    ),
    "series_resistance": Case(
        "Vin in 0 0\nR1 in out 1k\nC1 out 0 10n\nD1 out 0 DR\n.model DR D(IS=1n N=1.5 RS=20 EG=1.2 XTI=2)\n"
        ".temp 50\n*@ input Vin",
        3.0,
    ),
    "npn": Case(
        "Vcc vcc 0 9\nVin in 0 0\nC1 in b 1u\nR1 vcc b 100k\nR2 b 0 15k\nRc vcc c 4.7k\nRe e 0 470\nCe e 0 1u\n"
        "Q1 c b e QN area=1.5\n.model QN NPN(IS=10f BF=200 BR=3 NF=1.05 NR=1.1 VAF=60)\n*@ input Vin",
        1.0,
    ),
    "pnp": Case(
        "Vee vee 0 9\nVin in 0 0\nC1 in b 1u\nR1 vee b 15k\nR2 b 0 100k\nRc 0 c 4.7k\nRe vee e 470\n"
        "Q1 c b e QP\n.model QP PNP(IS=20f BF=150 BR=2 VAF=40 XTB=1.5)\n.temp 40\n*@ input Vin",
        2.0,
    ),
    "complete_diode": Case(
        "Vin in 0 0\nR1 in out 220\nC1 out 0 10n\nD1 out 0 DC area=2\n"
        ".model DC D(IS=2.7n N=1.8 RS=.6 IKF=4m ISR=1.6n NR=2 VJ=.5 M=.33 BV=3 IBV=1m)\n.temp 40\n*@ input Vin",
        4.0,
    ),
    "gummel_poon": Case(
        "Vcc vcc 0 9\nVin in 0 0\nC1 in b 1u\nR1 vcc b 100k\nR2 b 0 15k\nRc vcc c 4.7k\nRe e 0 470\nCe e 0 1u\n"
        "Q1 c b e QG area=1.5\n.model QG NPN(IS=10f BF=200 BR=3 NF=1.05 VAF=60 VAR=20 IKF=2m IKR=5m ISE=20f NE=1.4 "
        "ISC=1p NC=1.8 RB=100 RC=5 RE=1)\n*@ input Vin",
        1.0,
    ),
    "njf": Case(
        "Vdd vdd 0 9\nVin in 0 0\nC1 in g 100n\nR1 g 0 1meg\nRd vdd d 2.2k\nRs s 0 680\nCs s 0 1u\nC2 d out 1u\n"
        "R2 out 0 10k\nJ1 d g s JN\n.model JN NJF(VTO=-2.1 BETA=1.3m LAMBDA=8m IS=20f B=0.8 RD=10 RS=8)\n*@ input Vin",
        2.0,
    ),
    "pjf": Case(
        "Vss vss 0 9\nVin in 0 0\nR1 in g 10k\nRd d 0 2.2k\nRs vss s 470\nCd d 0 10n\nJ1 d g s JP area=2\nC1 g 0 1n\n"
        "Vg vg 0 8\nR2 g vg 22k\n.model JP PJF(VTO=-1.4 BETA=1m LAMBDA=12m TCV=1m BEX=-1.5)\n.temp 45\n*@ input Vin",
        4.0,
    ),
    "nmos": Case(
        "Vdd vdd 0 9\nVin in 0 0\nC1 in g 100n\nR1 vdd g 2.2meg\nR2 g 0 1meg\nRd vdd d 2.2k\nRs s 0 470\nC2 d out 1u\n"
        "R3 out 0 10k\nM1 d g s 0 MN W=50u L=5u\n"
        ".model MN NMOS(VTO=1.2 KP=1m GAMMA=0.5 PHI=0.7 LAMBDA=20m RD=20 RS=5)\n*@ input Vin",
        3.0,
    ),
    "pmos_switch": Case(
        "Vin in 0 0\nR1 in a 1k\nC1 a 0 10n\nM1 a g b vb MP W=100u L=2u\nR2 b 0 4.7k\nC2 b 0 4.7n\nVb vb 0 5\n"
        "Vg g 0 -2\n.model MP PMOS(VTO=-1 KP=0.2m GAMMA=0.6 LAMBDA=10m)\n*@ input Vin",
        4.0,
    ),
    "inductor_and_diode": Case(
        "Vin in 0 0\nR1 in a 100\nL1 a out 20m\nC1 out 0 47n\nR2 out 0 4.7k\nD1 out 0 DG\nD2 0 out DG\n"
        ".model DG D(IS=200n N=1.3)\n*@ input Vin",
        1.0,
    ),
    "current_sources": Case(
        f"Iin 0 out 0\nI1 0 out 0.2m\nR1 out 0 10k\nC1 out 0 100n\nD1 out 0 DS\n{SILICON}\n*@ input Iin", 1e-3
    ),
    "amplifier": Case(
        "Vin in 0 0\nC2 in p 1u\nR5 p 0 10k\nE1 out 0 p m 200k\nR4 m n1 4.7k\nC3 n1 0 47n\nR6 m out 100k\n"
        f"C4 m out 51p\nD1 m out DS\nD2 out m DS\n{SILICON}\n*@ input Vin",
        0.3,
    ),
    "transconductance": Case(
        f"Vin in 0 0\nR1 in a 1k\nC1 a 0 33n\nG1 0 out a 0 1m\nR2 out 0 4.7k\nD1 out 0 DS\nD2 0 out DS\n{SILICON}\n"
        "*@ input Vin",
        2.0,
    ),
    "zero_ohm": Case(
        "Vin in 0 0\nR1 in a 2.2k\nR0 a out 0\nC1 out 0 10n\nD1 a b DS\nRb b 0 0\nD2 0 a DS\n"
        f"{SILICON}\n*@ input Vin",
        2.0,
    ),
    "behavioural_currents": Case(
        ".param gain=0.5 ex=1.4 bias=1\nVin in 0 0\nR1 in a 10k\nC1 a 0 1n\n"
        "B1 out 0 I={1m*(gain*uramp(v(a) + bias)**ex + 0.5*tanh(2*v(out)))}\nR2 out 0 10k\nC2 out 0 2n\n"
        "G2 0 b VALUE={gain*1m*ln(1 + exp(4*v(out,a)))}\nR3 b 0 1k\nC3 b 0 10n\n*@ input Vin",
        2.0,
    ),
    "behavioural_voltages": Case(
        ".param bias=1.2 top=3\nVin in 0 0\nR1 in a 10k\nC1 a 0 1n\nB1 e 0 V={top*tanh(bias*v(a)/top)}\n"
        "R2 e b 1k\nC2 b 0 10n\nE2 f b VALUE={0.2*v(e)*v(e)/(1 + v(a)*v(a))}\nR3 f 0 2.2k\nD1 f 0 DS\n"
        f"{SILICON}\n*@ input Vin",
        2.0,
    ),
    "current_controlled": Case(
        "Vin in 0 0\nR1 in a 1k\nVs a b 0\nC1 b 0 33n\nR2 b 0 4.7k\nF1 0 out Vs 5\nH1 h 0 Vs 3k\nR3 h out 2.2k\n"
        f"R4 out 0 1k\nD1 out 0 DS\nD2 0 out DS\n{SILICON}\n*@ input Vin",
        2.0,
    ),
    "behavioural_sensed_currents": Case(
        ".param gain=3k\nVin in 0 0\nR1 in a 1k\nL1 a b 50m\nR2 b c 470\nVs c 0 0.1\nC1 b 0 47n\n"
        "B1 0 out I={0.5*i(Vs) + 300*i(R1)*v(out)}\nR3 out 0 2.2k\nC3 out 0 4.7n\nB2 e 0 V={tanh(gain*i(L1))}\n"
        "R4 e f 1k\nC4 f 0 22n\n*@ input Vin",
        2.0,
    ),
    "switch": Case(
        "Vin in 0 0\nR1 in a 1k\nC1 a 0 10n\nS1 a out in 0 SX\nR2 out 0 2.2k\nVs b 0 0\nR3 in b 1k\nW1 out c Vs WX\n"
        "R4 c 0 4.7k\nC4 c 0 4.7n\n.model SX SW(RON=100 ROFF=47k VT=0.2 VH=0.9)\n"
        ".model WX CSW(RON=220 ROFF=22k IT=0.1m IH=0.8m)\n*@ input Vin",
        2.0,
    ),
    "transformer": Case(
        "Vin in 0 0\nR1 in a 220\nL1 a 0 0.2\nL2 b 0 0.8\nK1 L1 L2 0.95\nC1 b 0 1n\nR2 b 0 10k\nD1 b 0 DS\n"
        f"{SILICON}\n*@ input Vin",
        1.0,
    ),
    "centre_tap": Case(
        ".param k=0.98 half=0.3\nVin in 0 0\nR1 in a 1k\nL1 a 0 1\nL2 b 0 {half}\nL3 0 c {half}\nK12 L1 L2 {k}\n"
        "K13 L1 L3 {k}\nK23 L2 L3 0.99\nR2 b 0 22k\nR3 c 0 22k\nD1 b out DS\nD2 c out DS\nR4 out 0 4.7k\n"
        f"C4 out 0 22n\n{SILICON}\n*@ input Vin",
        4.0,
    ),
    "two_inputs": Case(
        "V1 a 0 0\nV2 b 0 0\nR1 a out 10k\nR2 b out 22k\nC1 out 0 4.7n\nR3 out x 1k\nD1 x y DS\nR4 y 0 100\n"
        f"{SILICON}\n*@ input V1 V2",
        3.0,
        inputs=2,
    ),
}  # fmt: skip

# A diode fed through a negative conductance, which has no solution above 0.4 V of drive, and behind an ideal amplifier
# three more diodes, two of them in series: two stages, all port currents not free. Small enough to run everywhere.
TWO_STAGES = f"""Vin in 0 0
R1 in out 1k
G1 0 out out 0 2m
G2 0 out in 0 -2m
D1 out 0 DS
C1 out x 1n
R2 x 0 10k
E1 b 0 out 0 10
R3 b c 2.2k
C2 c 0 10n
D2 c d DS
D3 d 0 DS
D4 0 c DS
{SILICON}
*@ input Vin
*@ output out
*@ output c"""

LINEAR = ("rc", "rlc")
NONLINEAR = tuple(name for name in CASES if name not in LINEAR)
RATE = 96000.0


@cache
def discrete(name: str, rate: float = RATE, scheme: Scheme = TRAPEZOIDAL) -> DiscreteCircuit:
    """A case, discretised at `rate` Hz."""
    return DiscreteCircuit(CASES[name].circuit, rate, scheme)


def start(model: DiscreteCircuit) -> tuple[Tensor, Tensor, Tensor]:
    """theta [1, size], x [1, n_x] and w [1, n_n] at rest, detached."""
    x, w, _ = model.initial_state({}, model.operating_point({}))
    return model.theta({}).detach()[None], x.detach()[None], w.detach()[None]


def excitation(name: str, time: int, batch: int = 1, seed: int = 0) -> Tensor:
    """A smooth random signal [batch, time, n_u] with the case's peak: three sinusoids below 8 kHz at RATE."""
    case, rng = CASES[name], np.random.default_rng(seed)
    n = np.arange(time)[None, :, None, None]
    shape = (batch, 1, case.inputs, 3)
    signal: NDArray[np.float64] = np.sin(
        2 * np.pi * rng.uniform(0.002, 0.08, shape) * n + rng.uniform(0.0, 6.28, shape)
    ).sum(-1)
    return torch.as_tensor(case.amplitude / 2.0 * signal)
