"""What the pages of the devices with a .model say, for make_devices.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from device_curves import Curve, Sweep

from circuitnn.devices import BJT, BREAKDOWN_DIODE, COMPLETE_DIODE, DIODE, GUMMEL_POON, JFET, NMOS, Law
from circuitnn.devices.switch import VOLTAGE_SWITCH


@dataclass(frozen=True)
class Page:
    """name: of the file. kinds: .model types that it describes. laws: title -> law, printed with its coefficients.

    Of a device without a law: elements, the letters of its cards; formulas, title -> left side -> right side in LaTeX,
    and their source; subcircuits, name -> parameter -> (unit, meaning). example: cards that use it. remarks: what
    stands below the formulas.
    """

    name: str
    title: str
    text: str
    curves: tuple[Curve, ...]
    kinds: tuple[str, ...] = ()
    laws: Mapping[str, Law] = field(default_factory=dict)
    elements: tuple[str, ...] = ("X",)
    formulas: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    source: str = ""
    subcircuits: Mapping[str, Mapping[str, tuple[str, str]]] = field(default_factory=dict)
    example: str = ""
    remarks: str = ""


TEMPERATURE = r"""$T$ is the temperature in kelvin, $V_T = kT/q$, $T_0$ is `TNOM` in kelvin. $G_{\min}$ is SPICE's
1 pS across every junction. Exponentials continue as their tangents beyond an exponent of 80."""
POTENTIAL = r"""$\phi$ is SPICE's temperature law of potentials: $\phi(x) = \frac{T}{T_0} (x - s(T_0)) + s(T)$ with
$s(T) = E_g(T) - \frac{T}{T_r} 1.1150877 - 3 V_T \ln \frac{T}{T_r}$, $T_r = 300.15$, and the energy gap of silicon
$E_g(T) = 1.16 - \frac{7.02 \cdot 10^{-4} T^2}{T + 1108}$ in volt."""

DIODE_TEXT = """\
Silicon, germanium, Schottky, light-emitting and zener diodes. The cheapest of three laws is taken that the card
needs: the plain one, one with reverse breakdown (`BV`), or the complete one (`IKF`, `ISR`). A zener is a diode with
`BV`. Diodes of one model between the same two nodes become one device if they have the plain law and no `RS`."""
DIODE_REMARKS = f"""\
{TEMPERATURE} `RS`, divided by the area, is an inner node. {POTENTIAL}

Differences from ngspice 39: reverse currents between 0 V and the breakdown are the saturation current, where
ngspice bends them by less than that; recombination flows in reverse too, where ngspice cuts it off."""

BIPOLAR_TEXT = """\
Gummel and Poon's model if the card gives `VAR`, `IKF`, `IKR`, `ISE`, `ISC` or `NKF` other than 0; else the
transport form of Ebers and Moll with forward Early effect, which is the same law without these effects, and
cheaper."""
BIPOLAR_REMARKS = f"""\
{TEMPERATURE} `RB`, `RC` and `RE`, divided by the area, are inner nodes. `RB` is constant: `RBM` and `IRB`, by which
the base resistance falls with the current, have no effect. With `NKF` a power of that exponent takes the place of
the root.

The Early factor below 0.1 goes on as a hyperbola that stays positive, where SPICE has a pole. All currents scale
with the area; ngspice 39 has further factors for base and collector. Emission coefficients that differ between the
junctions (`NF`, `NR`) make a model that delivers a little power near saturation; SPICE's does too."""

JFET_TEXT = """\
SPICE's level 1: Shichman and Hodges' square law with the doping tail `B`. Drain and source are alike: the voltage
says which is which, and all regions are one formula with a continuous slope."""
JFET_REMARKS = f"""\
{TEMPERATURE} `RD` and `RS`, divided by the area, are inner nodes. `VTO` is negative for both polarities, as in
SPICE. With `B` above 1 the cubic term is negative, and at gate voltages that no gate can stand the current falls
again."""

MOSFET_TEXT = """\
SPICE's level 1: Shichman and Hodges' square law with body effect and the two bulk junctions. Drain and source are
alike. Other levels are read as level 1, with a note."""
MOSFET_REMARKS = f"""\
{TEMPERATURE} `RD` and `RS` are inner nodes. The gate carries no current. {POTENTIAL}

A PMOS is the same with all voltages turned round and `VTO` with the opposite sign. `NSUB`, from which SPICE can
work out `PHI`, `GAMMA` and `VTO`, has no effect: give these. With the bulk junction conducting ($u > 1$) the
threshold bends to its limit as a parabola, where SPICE has a corner. `JS` counts if both `AD` and `AS` are given."""

SWITCH_TEXT = """\
A conductance that a voltage (S, type `SW`) or the current of a voltage source (W, type `CSW`) turns from `1/ROFF` to
`1/RON`, and back on the same way."""
SWITCH_REMARKS = """\
$c$ is the control voltage; of a W element the control current, in milliampere. The transition is at
least 1 mV or 1 µA to either side wide, because a solver cannot stand on a step. ngspice jumps, at VT + VH up and at
VT - VH down; LTspice has this transition where VH is negative. The end states are the same in all three."""

VOLTAGE_AND_CURRENT = ("voltage [V]", "current [mA]")
COLLECTOR = ("collector-emitter voltage [V]", "collector current [mA]")
GUMMEL = ("base-emitter voltage [V]", "current [A]")
DRAIN = ("drain-source voltage [V]", "drain current [mA]")
GATE = ("gate-source voltage [V]", "drain current [mA]")


def sweep(start: float, stop: float) -> tuple[float, ...]:
    return tuple(float(value) for value in np.linspace(start, stop, 300))


def diode(model: str) -> str:
    return f"VD a 0 0\nD1 a 0 DM\n.model DM D({model})"


def transistor(model: str, base: str) -> str:
    return f"VC c 0 5\nVX c x 0\n{base}\nQ1 x b 0 QM\n.model QM NPN({model})"


def jfet(sources: str, more: str = "") -> str:
    return f"{sources}\nJ1 d g 0 JM\n.model JM NJF(VTO=-2 BETA=1.25m LAMBDA=8m{more})"


def mosfet(sources: str) -> str:
    return f"{sources}\nM1 d g s 0 MM W=20u L=10u\n.model MM NMOS(VTO=1 KP=1m GAMMA=0.6 PHI=0.7 LAMBDA=15m)"


PLAIN_NPN = "IS=7f BF=300 VAF=75"
REAL_NPN = f"{PLAIN_NPN} IKF=60m ISE=7f NE=1.3 BR=2"

MODEL_PAGES = (
    Page(
        "diode",
        "Diode",
        DIODE_TEXT,
        (
            Sweep(
                "forward",
                {
                    "silicon, IS=2.52n N=1.752": diode("IS=2.52n N=1.752 RS=0.57"),
                    "the same at 60 °C": f"{diode('IS=2.52n N=1.752 RS=0.57')}\n.temp 60",
                    "germanium, IS=200n N=1.3": diode("IS=200n N=1.3 RS=7 EG=0.67"),
                    "red light-emitting, IS=1e-20 N=1.7": diode("IS=1e-20 N=1.7 RS=3"),
                },
                VOLTAGE_AND_CURRENT,
                "VD",
                sweep(0.0, 2.2),
                "i(VD)",
                scale=-1e3,
                limits=(-0.5, 20.0),
            ),
            Sweep(
                "breakdown",
                {f"BV={voltage}": diode(f"IS=1n N=1.5 BV={voltage} IBV=5m RS=5") for voltage in (3.3, 5.1, 9.1)},
                VOLTAGE_AND_CURRENT,
                "VD",
                sweep(-9.5, 1.0),
                "i(VD)",
                scale=-1e3,
                limits=(-20.0, 10.0),
            ),
        ),
        ("d",),
        {"Plain": DIODE, "With breakdown": BREAKDOWN_DIODE, "Complete": COMPLETE_DIODE},
        remarks=DIODE_REMARKS,
    ),
    Page(
        "bipolar",
        "Bipolar transistor",
        BIPOLAR_TEXT,
        (
            Sweep(
                "output, for several base currents",
                {f"{current} µA": transistor(REAL_NPN, f"IB 0 b {current}u") for current in (40, 20, 10, 5)},
                COLLECTOR,
                "VC",
                sweep(-0.3, 10.0),
                "i(VX)",
                scale=1e3,
            ),
            Sweep(
                "Gummel plot at 5 V",
                {
                    "collector": transistor(REAL_NPN, "VB b 0 0"),
                    "collector, Ebers-Moll": transistor(PLAIN_NPN, "VB b 0 0"),
                    "base": "VB bb 0 0\nVX bb b 0\nVC c 0 5\nQ1 c b 0 QM\n.model QM NPN(" + REAL_NPN + ")",
                    "base, Ebers-Moll": "VB bb 0 0\nVX bb b 0\nVC c 0 5\nQ1 c b 0 QM\n.model QM NPN(" + PLAIN_NPN + ")",
                },
                GUMMEL,
                "VB",
                sweep(0.4, 1.0),
                "i(VX)",
                logarithmic="y",
            ),
        ),
        ("npn", "pnp"),
        {"Ebers-Moll": BJT, "Gummel-Poon": GUMMEL_POON},
        remarks=BIPOLAR_REMARKS,
    ),
    Page(
        "jfet",
        "Junction field-effect transistor",
        JFET_TEXT,
        (
            Sweep(
                "output, for several gate-source voltages",
                {f"{voltage} V": jfet(f"VD d 0 0\nVG g 0 {voltage}") for voltage in (0, -0.5, -1.0, -1.5)},
                DRAIN,
                "VD",
                sweep(-0.5, 10.0),
                "i(VD)",
                scale=-1e3,
            ),
            Sweep(
                "transfer at 9 V",
                {"B=1": jfet("VG g 0 0\nVD d 0 9"), "B=0.6": jfet("VG g 0 0\nVD d 0 9", " B=0.6")},
                GATE,
                "VG",
                sweep(-2.5, 0.4),
                "i(VD)",
                scale=-1e3,
            ),
        ),
        ("njf", "pjf"),
        {"Shichman-Hodges": JFET},
        remarks=JFET_REMARKS,
    ),
    Page(
        "mosfet",
        "MOSFET",
        MOSFET_TEXT,
        (
            Sweep(
                "output, for several gate-source voltages",
                {f"{voltage} V": mosfet(f"VD d 0 0\nVG g 0 {voltage}\nVS s 0 0") for voltage in (3.0, 2.5, 2.0, 1.5)},
                DRAIN,
                "VD",
                sweep(-0.5, 9.0),
                "i(VD)",
                scale=-1e3,
            ),
            Sweep(
                "transfer at 5 V, for several source-bulk voltages",
                {f"{voltage} V": mosfet(f"VG g s 0\nVD d s 5\nVS s 0 {voltage}") for voltage in (0, 1, 3)},
                GATE,
                "VG",
                sweep(0.5, 3.0),
                "i(VD)",
                scale=-1e3,
            ),
        ),
        ("nmos", "pmos"),
        {"n-channel": NMOS},
        remarks=MOSFET_REMARKS,
    ),
    Page(
        "switch",
        "Switch",
        SWITCH_TEXT,
        (
            Sweep(
                "conductance, for several widths",
                {
                    f"VH={width}": f"VC c 0 0\nVD a 0 1\nS1 a 0 c 0 SM\n.model SM SW(VT=1 VH={width} RON=1 ROFF=1meg)"
                    for width in (0.0, 0.2, 0.5)
                },
                ("control voltage [V]", "conductance [S]"),
                "VC",
                sweep(0.0, 2.0),
                "i(VD)",
                scale=-1.0,
                logarithmic="y",
            ),
        ),
        ("sw", "csw"),
        {"Controlled by a voltage": VOLTAGE_SWITCH},
        remarks=SWITCH_REMARKS,
    ),
)
