"""Tube subcircuits in the forms in which they are found, each with the law it stands for as a function of numpy.

The shapes are those of the authors named; comments, names of nodes and many of the numbers are this project's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Form:
    """cards: a subcircuit TUBE with the nodes plate, grid, cathode (and screen). current(v_pk, v_gk): into the plate,
    in ampere, with the screen at 250 V. ports: of the solver for one such tube; steps: without substitution.py. leak:
    between plate and cathode, in siemens. lowest: where the plate stays above, in volt: not all laws end at 0 V."""

    cards: str
    current: Callable[[Array, Array], Array]
    ports: int
    steps: int
    pentode: bool = False
    leak: float = 0.0
    lowest: float = -1.0


def softplus(x: Array) -> Array:
    return np.logaddexp(0.0, x)


def koren(v_pk: Array, v_gk: Array, mu: float, ex: float, kg1: float, kp: float, kvb: float) -> Array:
    """N. Koren, "Improved vacuum tube models for SPICE simulations", Glass Audio 8 (1996) 5, equations 4 and 5."""
    e1 = v_pk / kp * softplus(kp * (1 / mu + v_gk / np.sqrt(kvb + v_pk**2)))
    return 2.0 * np.maximum(e1, 0.0) ** ex / kg1


def koren_pentode(v_gk: Array, v_pk: Array) -> Array:
    """Equations 6 of the same article at a screen voltage of 250 V, with his 6L6GC."""
    e1 = 250.0 / 48.0 * softplus(48.0 * (1 / 8.7 + v_gk / 250.0))
    return 2.0 * np.maximum(e1, 0.0) ** 1.35 / 1460.0 * np.arctan(v_pk / 12.0)


def munro(v_pk: Array, v_gk: Array) -> Array:
    """Child's law with a limit by plate and screen, as in D. Munro's pentodes of 1997 (duncanamps.com)."""
    screen = np.clip(v_pk / 700.0 + 250.0 / 15.0 + 0.7 * v_gk, 0.0, 1e6)
    emission = np.clip(v_pk, 0.0, 2000.0) ** 1.5 / 1400.0
    return np.clip(1.4e-3 * screen**1.5 * 0.636 * np.arctan(v_pk / 11.0), 0.0, emission)


def child(v_pk: Array, v_gk: Array) -> Array:
    return 1.2e-6 * np.maximum(40.0 + v_pk + 95.0 * v_gk, 0.0) ** 1.5


def ayumi(v_pk: Array, v_gk: Array) -> Array:
    """The equations of A. Nakabayashi's triode models (ayumi.cava.jp), in the order of the cards below."""
    ramp = lambda x: np.maximum(x, 0.0)  # noqa: E731
    gg = v_gk + 0.6
    m1 = (0.0018 * (ramp(v_pk) + 1e-10)) ** -0.27
    m2 = (0.85 * (ramp(gg + ramp(v_pk) / 88.0) + 1e-10)) ** 1.77
    p = 0.00113 * (ramp(gg + ramp(v_pk) / 104.0) + 1e-10) ** 1.5
    ik = np.where(gg > 0.0, p, 0.00071 * m1 * m2)
    g = ramp(v_gk)
    ig = 0.00056 * g**1.5 * (g / (ramp(v_pk) + g + 1e-10) * 1.2 + 0.4)
    return ramp(ik - ig - ramp(ik - ig - 0.00058 * ramp(v_pk) ** 1.5)) + 1e-10 * v_pk


def rydel(v_pk: Array, v_gk: Array) -> Array:
    """M. Rydel's five-parameter form (as in A. Frolov's Curve Captor, andrei-v-frolov/curvecaptor, models.m4)."""
    return (1.1e-6 + 0.02e-6 * v_gk) * np.maximum(98.0 * v_gk + v_pk + 30.0, 0.0) ** 1.5 * v_pk / (v_pk + 8.0)


def branched(v_pk: Array, v_gk: Array) -> Array:
    anode = np.where(v_pk > 0.0, v_pk, 0.0)
    drive = np.where(v_gk > -4.0, anode / 90.0 + v_gk + 0.5, 0.0)
    return np.where(drive > 0.0, 1.3e-3 * np.maximum(drive, 0.0) ** 1.5, 0.0)


def tabulated(v_pk: Array, v_gk: Array) -> Array:
    share = np.interp(v_pk, [0.0, 20.0, 60.0, 400.0], [0.0, 0.6, 0.95, 1.0])
    return 1.3e-3 * np.maximum(0.4 + v_gk + 0.011 * v_pk, 0.0) ** 1.5 * share


KOREN_GRID = (
    "CCG 2 3 {CCG}\nCGP 2 1 {CGP}\nCCP 1 3 {CCP}\nR1 2 5 {RGI}\nD3 5 3 DX\n"
    ".MODEL DX D(IS=1N RS=1 CJO=10PF TT=1N)\n.ENDS\n"
)

FORMS = {
    "koren": Form(
        ".SUBCKT TUBE 1 2 3  ; P G C;  TRIODE\n"
        "+ PARAMS: MU=100 EX=1.4 KG1=1060 KP=600 KVB=300 RGI=2000\n+ CCG=2.3P  CGP=2.4P CCP=.9P  ; ADD PINS\n"
        "E1 7 0 VALUE=\n+{V(1,3)/KP*LOG(1+EXP(KP*(1/MU+V(2,3)/SQRT(KVB+V(1,3)*V(1,3)))))}\nRE1 7 0 1G\n"
        f"G1 1 3 VALUE={{(PWR(V(7),EX)+PWRS(V(7),EX))/KG1}}\nRCP 1 3 1G\n{KOREN_GRID}",
        lambda v_pk, v_gk: koren(v_pk, v_gk, 100.0, 1.4, 1060.0, 600.0, 300.0),
        leak=1e-9,
        ports=3,
        steps=6,
    ),
    # A model that hands its parameters to a common one that does not declare them.
    "koren_nested": Form(
        ".SUBCKT TUBE 1 2 3; A G C;\nX1 1 2 3 TriodeK MU= 96.2 EX=1.437 KG1= 613.4 KP= 740. KVB= 1672. RGI=2000\n"
        "+ CCG=0.0P  CGP=0.0P CCP=0.0P  ;\n.ENDS\n"
        ".SUBCKT TriodeK 1 2 3; A G C\nE1 7 0 VALUE=\n"
        "+{V(1,3)/KP*LOG(1+EXP(KP*(1/MU+V(2,3)/SQRT(KVB+V(1,3)*V(1,3)))))}\nRE1 7 0 1G\n"
        f"G1 1 3 VALUE={{0.5*(PWR(V(7),EX)+PWRS(V(7),EX))/KG1}}\nRCP 1 3 1G\n{KOREN_GRID}",
        lambda v_pk, v_gk: koren(v_pk, v_gk, 96.2, 1.437, 613.4, 740.0, 1672.0) / 2.0,
        leak=1e-9,
        ports=3,
        steps=6,
    ),
    "koren_pentode": Form(
        ".SUBCKT TUBE 1 2 3 4 ; P G C G2 (PENTODE)\n+ PARAMS: MU=8.7 EX=1.35 KG1=1460 KG2=4500 KP=48 KVB=12 RGI=1K\n"
        "+ CCG=14P CGP=.85P CCP=12P\n"
        "E1 7 0 VALUE={V(4,3)/KP*LOG(1+EXP((1/MU+V(2,3)/V(4,3))*KP))}\nRE1 7 0 1G ; NO FLOATING NODE\n"
        "G1 1 3 VALUE={(PWR(V(7),EX)+PWRS(V(7),EX))/KG1*ATAN(V(1,3)/KVB)}\n"
        f"G2 4 3 VALUE={{(EXP(EX*(LOG((V(4,3)/MU)+V(2,3)))))/KG2}}\nRCP 1 3 1G\n{KOREN_GRID}",
        lambda v_pk, v_gk: koren_pentode(v_gk, v_pk),
        leak=1e-9,
        ports=4,
        steps=8,
        pentode=True,
    ),
    "munro_pentode": Form(
        ".SUBCKT TUBE A G K S\n"
        "Eat\tat\t0\tVALUE={0.636*ATAN(V(A,K)/11)}\nEme\tme\t0\tVALUE={PWR(LIMIT{V(A,K),0,2000},1.5)/1400}\n"
        "Egs\tgs\t0\tVALUE={LIMIT{V(A,K)/700+V(S,K)/15+V(G,K)*0.7,0,1E6}}\nEgs2\tgs2\t0\tVALUE={PWRS(V(gs),1.5)*1.4E-3}\n"
        "Ecath\tcc\t0\tVALUE={LIMIT{V(gs2)*V(at),0,V(me)}}\nGa\tA\tK\tVALUE={V(cc)}\n"
        "Escrn\tsc\t0\tVALUE={0.7*V(gs2)*(1.1-V(at))}\nGs\tS\tK\tVALUE={V(sc)*LIMIT{V(S,K),0,10}/10}\n"
        "Gg\tG\tK\tVALUE={PWR(LIMIT{V(G,K)+1,0,1E6},1.5)*(1.25-V(at))*650E-6}\n"
        "Cg1\tG\tK\t7.5p\nCak\tA\tK\t9p\nCg1a\tG\tA\t0.7p\n.ENDS\n",
        munro,
        ports=3,
        steps=21,
        pentode=True,
    ),
    "munro_triode": Form(
        ".SUBCKT TUBE P G K\nE1  2  0  VALUE={40+V(P,K)+95*V(G,K)}\nR1  2  0  1.0K\n"
        "Gp  P  K  VALUE={1.2E-6*(PWR(V(2),1.5)+PWRS(V(2),1.5))/2}\nCgk G  K  1.6P\nCgp G  P  1.7P\nCpk P  K  0.46P\n"
        ".ENDS TUBE\n",
        child,
        ports=2,
        steps=2,
        lowest=-5e3,
    ),
    "ayumi": Form(
        ".SUBCKT TUBE A G K\nBGG   GG   0 V=V(G,K)+0.6\nBM1   M1   0 V=(0.0018*(URAMP(V(A,K))+1e-10))**-0.27\n"
        "BM2   M2   0 V=(0.85*(URAMP(V(GG)+URAMP(V(A,K))/88.0)+1e-10))**1.77\n"
        "BP    P    0 V=0.00113*(URAMP(V(GG)+URAMP(V(A,K))/104.0)+1e-10)**1.5\n"
        "BIK   IK   0 V=U(V(GG))*V(P)+(1-U(V(GG)))*0.00071*V(M1)*V(M2)\n"
        "BIG   IG   0 V=0.00056*URAMP(V(G,K))**1.5*(URAMP(V(G,K))/(URAMP(V(A,K))+URAMP(V(G,K))+1e-10)*1.2+0.4)\n"
        "BIAK  A    K I=URAMP(V(IK,IG)-URAMP(V(IK,IG)-(0.00058*URAMP(V(A,K))**1.5)))+1e-10*V(A,K)\n"
        "BIGK  G    K I=V(IG)\n* CAPS\nCGA   G    A 1.7p\nCGK   G    K 1.6p\nCAK   A    K 0.5p\n.ENDS\n",
        ayumi,
        ports=2,
        steps=18,
    ),
    "spice3": Form(
        ".SUBCKT TUBE A G K\n"
        "B1  b1  0  v=(v(a,k) / 95.)*log(1. + exp(95. * (1. / 25 + (v(g,k) / sqrt (100. + v(a,k) * v(a,k))))))\n"
        "r1 b1 0 1g\nrg g 0 1g\nBa  A  K  I=((2. * uramp (v(B1))^1.2) / 160.)\n"
        "Cgk G  K  3.3p\nCgp G  A  2.4p\nCpk A  K  2.0p\n.ENDS TUBE\n",
        lambda v_pk, v_gk: koren(v_pk, v_gk, 25.0, 1.2, 160.0, 95.0, 100.0),
        ports=2,
        steps=5,
    ),
    "rydel": Form(
        ".SUBCKT TUBE P G K\n"
        "Bp  P K  I=((1.1u)+(0.02u)*V(G,K))*uramp((98)*V(G,K)+V(P,K)+(30))^1.5 * V(P,K)/(V(P,K)+(8))\n"
        "Cgp G P 1.7p\nCi G K 1.6p\n.ENDS\n",
        rydel,
        ports=2,
        steps=2,
        lowest=-5e3,
    ),
    "branches": Form(
        ".SUBCKT TUBE A G K PARAMS: PERV=1.3m MU=90\nE10 10  0 VALUE = {IF(V(A)-V(K) > 0, V(A)-V(K), 0)}\n"
        "E11 11  0 VALUE = {IF(V(G,K) > -4, V(10)/({MU}) + V(G,K) + 0.5, 0)}\n"
        "G1 A K VALUE = {IF(V(11) > 0, {PERV} * (V(11))^{1.5}, 0)}\nRG G 0 1G\n.ENDS\n",
        branched,
        ports=6,
        steps=8,
        lowest=-5e4,
    ),
    "poly_and_table": Form(
        ".SUBCKT TUBE A G K\nE1 1 0 POLY(2) (G,K) (A,K) 0.4 1 0.011\n"
        "E2 2 0 TABLE {V(A,K)} = (0,0) (20,0.6) (60,0.95) (400,1)\n"
        "G1 A K VALUE={1.3m*URAMP(V(1))**1.5*V(2)}\nR1 1 0 1G\nR2 2 0 1G\nCGK G K 2p\n.ENDS\n",
        tabulated,
        ports=2,
        steps=5,
    ),
}  # fmt: skip
