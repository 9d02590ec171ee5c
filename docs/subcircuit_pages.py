"""What the pages of the devices without a .model say, for make_devices.py: most are subcircuits of the part library."""

from __future__ import annotations

import numpy as np
from device_curves import Response, Run, Sweep
from device_pages import Page, sweep

OPAMP_TEXT = """\
Three amplifiers. `OPAMP_IDEAL` is a gain and nothing else. `OPAMP_LINEAR` has one pole, so the bandwidth of a stage
falls as its gain rises. `OPAMP` has a limited slew rate and supplies too, at the price of three nonlinear ports. The
parts by number (`TL072`, `JRC4558`, `LM308` ...) are `OPAMP` with the figures of their data sheets. Where neither pole
nor supplies are heard, an `E` element with a gain of 200,000 is the cheapest op-amp."""
OPAMP_FORMULAS = {
    "OPAMP": {
        r"C\,\dot v_c": r"I_{\max} \tanh\frac{G_m\,(v_{inp} - v_{inn})}{I_{\max}} + \frac{G_m}{\mathrm{AVOL}} "
        r"\left(\frac{v_{vp} + v_{vn}}{2} - v_c\right) - i_D\left(v_c - v_{vp} + \mathrm{DROPP} + V_F\right) "
        r"+ i_D\left(v_{vn} + \mathrm{DROPN} + V_F - v_c\right)",
        r"i_D(v)": r"10^{-15}\,I_{\max} \left(e^{v / (0.5\,V_T)} - 1\right)",
        r"v_{out}": r"v_c - \mathrm{ROUT}\; i_{out}",
        r"G_m": r"2 \pi\,\mathrm{GBW}\,C, \quad I_{\max} = \mathrm{SR}\,C, \quad "
        r"C = 30\,\text{pF}, \quad V_F = 0.5\,V_T \ln 10^{15}",
    },
    "OPAMP_LINEAR": {
        r"C\,\dot v_c": r"G_m\,(v_{inp} - v_{inn}) - \frac{G_m}{\mathrm{AVOL}}\,v_c",
        r"v_{out}": r"v_c - \mathrm{ROUT}\; i_{out}",
    },
    "OPAMP_IDEAL": {r"v_{out}": r"\mathrm{AVOL}\,(v_{inp} - v_{inn})"},
}
OPAMP_REMARKS = """\
The input stage is a differential pair, whose current ends at $I_{\\max}$: that is the slew rate. The diodes $i_D$ carry
the whole of it when the output stands `DROPP` below vp or `DROPN` above vn. They act where the voltage is stored, so
an overdriven amplifier comes back at once. There is no input current or offset, no limit of the output current, which
comes from ground, and no limit of the common mode."""

OTA_TEXT = """\
An operational transconductance amplifier: a differential pair whose tail current is the control current, so the gain
is a current. In filters, phasers and compressors (CA3080, LM13700)."""
OTA_REMARKS = """\
The control current flows in at `iabc`, which is held `JUNCTIONS` diode drops above `vn`: a resistor from a control
voltage sets it. The factor is $2 V_T$ at 27 °C whatever the temperature. Left out: bandwidth (some MHz), the voltage
limits of the output, input current and offset."""

PHOTOCELL_TEXT = """\
A resistor that light controls, as in optical compressors, tremolos and vibes. The light, or the current of the lamp,
is a parameter of the instance: a knob, or an expression of knobs."""
PHOTOCELL_REMARKS = """\
It has no memory. A cell follows the light in milliseconds and the dark in many more; a lamp, an oscillator or an
envelope that moves the light is here a knob that moves over time."""

CORE_TEXT = """\
A winding on an iron core that saturates, without hysteresis. Across the primary of `TRANSFORMER_IDEAL` (see
[transformers](transformer.md)) it makes a transformer that saturates."""
CORE_REMARKS = """\
The voltage charges a capacitor of 1 F, whose voltage is the flux linkage $\\psi$ in volt-seconds; the current is the
voltage of an inner node at which the law is a sum of currents. One nonlinear port, one state. The tanh is a
choice: it has the three figures that can be measured, and the curve of a real core has a longer knee."""

TRANSFORMER_TEXT = """\
Coupled inductors: inductors with a K card, which are a transformer with its magnetising and stray inductances. The
subcircuits make transformers of ideal ones, with the figures of a data sheet, linear all; for an iron core that
saturates there is [CORE](core.md)."""
TRANSFORMER_FORMULAS = {
    "K card": {
        r"v_1": r"L_1 \frac{d i_1}{dt} + M \frac{d i_2}{dt}",
        r"v_2": r"M \frac{d i_1}{dt} + L_2 \frac{d i_2}{dt}",
        r"M": r"k \sqrt{L_1 L_2}",
    },
    "TRANSFORMER_IDEAL": {r"v_p": r"N\,v_s", r"i_s": r"-N\,i_p"},
}
TRANSFORMER_REMARKS = """\
The dots are at the first nodes. A K card of several inductors is one for each pair. $1 - k^2$ is the leakage: that
share of the primary's inductance is left when the secondary is shorted. The ideal transformer is two gyrators: an
inner node settles where the voltages have the ratio N, and its voltage is the primary current.

`TRANSFORMER` adds leakage, magnetising inductance and the resistances of the windings; `TRANSFORMER_CT` has a primary
with a centre tap, whose halves share the secondary."""

BEHAVIOURAL_TEXT = """\
A current or a voltage by formula, of voltages, currents, parameters and the usual functions
([all of them](../netlists.md)): what has no card of its own is one of these. Derivatives are exact, and the formula is
compiled like any device."""
BEHAVIOURAL_REMARKS = """\
A current source's variable is the voltage across it, a voltage source's the current through it; each further voltage or
current in the formula is a port that carries nothing. Current sources with a common terminal that sense the same
voltages are one device, with one set of ports. A formula that is linear is a controlled source and costs no port.
Newton's method may ask for any argument, so functions go on where they would end: `exp` as its tangent above
80, `ln` below 1e-30 and `sqrt` below 0 level. Kinks (`abs`, `min`, `max`, `uramp`, `limit`, `table`) stay kinks, as in
any other simulator."""

AUDIO = tuple(float(f) for f in np.geomspace(10.0, 1e5, 200))

# A follower with supplies of +-9 V; a step after 2 us of 20.
FOLLOWER = "Vin in 0 0\nVp vp 0 9\nVn vn 0 -9\nRL out 0 10k"
STEP_RATE = 50e6
STEP = tuple(float(v) for v in np.where(np.arange(1000) < 100, 0.0, 5.0))
SINE_RATE = 20e3
SINE = tuple(float(v) for v in np.sin(2.0 * np.pi * 50.0 * np.arange(round(0.06 * SINE_RATE)) / SINE_RATE))


def inverting(amplifier: str, gain: int) -> str:
    return f"Vin in 0 0\nR1 in m 1k\nR2 m out {gain}k\nX1 0 m {amplifier}\nVp vp 0 9\nVn vn 0 -9"


def transformer(coupling: float) -> str:
    """5 kohm to 8 ohm, 10 H."""
    return f"Vin in 0 0\nRS in p 5k\nL1 p 0 10\nL2 out 0 16m\nK1 L1 L2 {coupling}\nRL out 0 8"


RESISTANCE = ("ohm", "resistance of the output")
GAIN = {"GBW": ("Hz", "gain-bandwidth product"), "AVOL": ("V/V", "gain at DC")}
INPUT = {"ROUT": RESISTANCE, "RIN": ("ohm", "resistance between the inputs")}
LED = {"ILED": ("A", "current of the light-emitting diode, 10 µA to 40 mA")}

SUBCIRCUIT_PAGES = (
    Page(
        "opamp",
        "Operational amplifier",
        OPAMP_TEXT,
        (
            Run(
                "a follower's answer to a step of 5 V",
                {
                    f"{slew} V/µs": f"{FOLLOWER}\nX1 in out vp vn out OPAMP SR={slew}Meg GBW=3Meg"
                    for slew in (13, 3, 1, 0.5)
                },
                ("time [µs]", "output [V]"),
                STEP,
                STEP_RATE,
                1e6,
            ),
            Response(
                "gain of inverting amplifiers",
                {
                    f"{gain}, {label}": inverting(amplifier, gain)
                    for gain in (10, 100)
                    for label, amplifier in (("1 MHz", "out OPAMP_LINEAR GBW=1Meg"), ("ideal", "out OPAMP_IDEAL"))
                },
                ("frequency [Hz]", "gain [dB]"),
                AUDIO,
                logarithmic="x",
            ),
            Sweep(
                "an inverting amplifier of gain 10 at supplies of 9 V",
                {
                    f"DROPP={up}, DROPN={down}": inverting(f"vp vn out OPAMP DROPP={up} DROPN={down}", 10)
                    for up, down in ((1.5, 1.5), (3, 0.1))
                },
                ("input [V]", "output [V]"),
                "VIN",
                sweep(-1.5, 1.5),
                "v(out)",
            ),
        ),
        formulas=OPAMP_FORMULAS,
        source="input stage and slew rate as in J. E. Solomon, The monolithic operational amplifier: a tutorial study, "
        "IEEE J. Solid-State Circuits 9 (1974) 314; the kind of macromodel as in G. R. Boyle et al., Macromodeling of "
        "integrated circuit operational amplifiers, ibid. 353",
        elements=("X", "E"),
        subcircuits={
            "OPAMP": {
                "GBW": GAIN["GBW"],
                "SR": ("V/s", "slew rate"),
                "AVOL": GAIN["AVOL"],
                **INPUT,
                "DROPP": ("V", "how near the output comes to vp"),
                "DROPN": ("V", "how near the output comes to vn"),
            },
            "OPAMP_LINEAR": {**GAIN, **INPUT},
            "OPAMP_IDEAL": {"AVOL": GAIN["AVOL"]},
        },
        remarks=OPAMP_REMARKS,
    ),
    Page(
        "ota",
        "Operational transconductance amplifier",
        OTA_TEXT,
        (
            Sweep(
                "output current, for several control currents",
                {
                    f"{current} µA": f"VI in 0 0\nVn vn 0 -9\nIB 0 bias {current}u\nX1 in 0 vn bias out OTA\nVO out 0 0"
                    for current in (500, 250, 100)
                },
                ("input [V]", "output current [µA]"),
                "VI",
                sweep(-0.2, 0.2),
                "i(VO)",
                scale=1e6,
            ),
        ),
        formulas={
            "OTA": {
                r"i_{out}": r"i_{abc} \tanh\frac{v_{inp} - v_{inn}}{51.73\,\text{mV}}",
                r"i_{abc}": r"10\,\text{fA} \left(e^{v_{abc} / (\mathrm{JUNCTIONS}\,V_T)} - 1\right)",
            }
        },
        source="the large-signal law of the emitter-coupled pair, Gray and Meyer, Analysis and Design of Analog "
        "Integrated Circuits; the control's voltage as in the data sheets of CA3080 and LM13700",
        subcircuits={
            "OTA": {
                "JUNCTIONS": ("", "diode drops from iabc to vn: 1 for a CA3080, 2 for an LM13700"),
                "RIN": ("ohm", "resistance between the inputs"),
            }
        },
        remarks=OTA_REMARKS,
    ),
    Page(
        "photocell",
        "Photocell",
        PHOTOCELL_TEXT,
        (
            Sweep(
                "by the light",
                {
                    f"R10={r10}k, GAMMA={gamma}": f".param lux=10\nI1 0 a 1u\n"
                    f"X1 a 0 PHOTOCELL LUX={{lux}} R10={r10}k GAMMA={gamma}"
                    for r10, gamma in ((20, 0.7), (20, 0.9), (100, 0.7))
                },
                ("illuminance [lux]", "resistance [ohm]"),
                "lux",
                tuple(float(lux) for lux in np.geomspace(0.1, 1000.0, 100)),
                "v(a)",
                scale=1e6,
                logarithmic="xy",
            ),
            Sweep(
                "vactrols, by the current of the diode",
                {
                    name: f".param iled=1m\nI1 0 a 1u\nX1 a 0 {name.replace('/', '_')} ILED={{iled}}"
                    for name in ("VTL5C3", "VTL5C3/2")
                },
                ("current [A]", "resistance [ohm]"),
                "iled",
                tuple(float(ampere) for ampere in np.geomspace(10e-6, 40e-3, 100)),
                "v(a)",
                scale=1e6,
                logarithmic="xy",
            ),
        ),
        formulas={
            "PHOTOCELL": {"R": r"\mathrm{R10} \left(\frac{\mathrm{LUX}}{10}\right)^{-\mathrm{GAMMA}}"},
            "VTL5C3_2": {
                "R": r"3.464\,\Omega \left(\frac{\mathrm{ILED}}{1\,\text{A}}\right)^{-1.4} + 1136.212\,\Omega"
            },
            "VTL5C3": {
                "R": r"3.464\,\Omega \left(\frac{1.56\,\mathrm{ILED}}{1\,\text{A}}\right)^{-1.4} + 1136.212\,\Omega"
            },
        },
        source="the two figures of a cell's data sheet; J. Parker and S. D'Angelo, A digital model of the Buchla "
        "lowpass-gate, DAFx-13 (2013), for the VTL5C3/2; the VTL5C3 is the same with more light, so that it has the "
        "30 kohm at 1 mA of its data sheet",
        subcircuits={
            "PHOTOCELL": {
                "LUX": ("lux", "the light"),
                "R10": ("ohm", "resistance at 10 lux"),
                "GAMMA": ("", "slope of log R against log lux, 0.6 to 0.8"),
            },
            "VTL5C3_2": LED,
            "VTL5C3": LED,
        },
        remarks=PHOTOCELL_REMARKS,
    ),
    Page(
        "core",
        "Saturating core",
        CORE_TEXT,
        (
            Sweep(
                "flux linkage of a winding of 10 H",
                {f"ISAT={mA}m": f"I1 0 a 0\nR1 a 0 1k\nX1 a 0 CORE ISAT={mA}m" for mA in (10, 20, 40)},
                ("current [A]", "flux linkage [Vs]"),
                "I1",
                sweep(-0.1, 0.1),
                "v(x1.flux)",
            ),
            Run(
                "inrush and saturation: current from rest at 50 Hz, behind 100 ohm",
                {
                    f"{volt} V": f"Vin in 0 0\nE1 a 0 in 0 {volt}\nR1 a b 100\nX1 b 0 CORE\nE2 out 0 a b 10"
                    for volt in (40, 80, 120)
                },
                ("time [ms]", "current [mA]"),
                SINE,
                SINE_RATE,
                1e3,
            ),
        ),
        formulas={
            "CORE": {
                r"\frac{d \psi}{dt}": r"v",
                r"\psi": r"\mathrm{LAIR}\,i + (\mathrm{L} - \mathrm{LAIR})\,\mathrm{ISAT} \tanh\frac{i}{\mathrm{ISAT}}",
            }
        },
        source="flux in a capacitor as in D. C. Hamill, Gyrator-capacitor modeling: a better way of understanding "
        "magnetic components, APEC 1994; the curve is this project's",
        subcircuits={
            "CORE": {
                "L": ("H", "inductance at small currents"),
                "ISAT": ("A", "current at which the core begins to saturate"),
                "LAIR": ("H", "inductance beyond it"),
            }
        },
        remarks=CORE_REMARKS,
    ),
    Page(
        "transformer",
        "Coupled inductors and transformers",
        TRANSFORMER_TEXT,
        (
            Response(
                "5 kohm to 8 ohm by two coupled inductors, 10 H and 16 mH",
                {f"k = {coupling}": transformer(coupling) for coupling in (0.9999, 0.999, 0.99)},
                ("frequency [Hz]", "gain [dB]"),
                AUDIO,
                logarithmic="x",
            ),
        ),
        formulas=TRANSFORMER_FORMULAS,
        source="SPICE's K element, Nagel, SPICE2, UCB/ERL M520 (1975); the transformer of two gyrators is a classic of "
        "network theory (B. D. H. Tellegen, The gyrator, a new electric network element, Philips Research Reports 3 "
        "(1948) 81)",
        elements=("K", "X"),
        example="L1 p 0 10\nL2 s 0 16m\nK1 L1 L2 0.999",
        subcircuits={
            "TRANSFORMER_IDEAL": {"N": ("", "turns of the primary over those of the secondary")},
            "TRANSFORMER": {
                "N": ("", "turns of the primary over those of the secondary"),
                "LP": ("H", "inductance of the primary"),
                "LLEAK": ("H", "leakage inductance, seen from the primary"),
                "RP": ("ohm", "resistance of the primary"),
                "RS": ("ohm", "resistance of the secondary"),
            },
            "TRANSFORMER_CT": {
                "RAA": ("ohm", "load from plate to plate that a load RL makes"),
                "RL": ("ohm", "that load"),
                "LP": ("H", "inductance from plate to plate"),
                "LLEAK": ("H", "leakage from plate to plate"),
                "RP": ("ohm", "resistance from plate to plate"),
                "RS": ("ohm", "resistance of the secondary"),
            },
        },
        remarks=TRANSFORMER_REMARKS,
    ),
    Page(
        "behavioural",
        "Behavioural source",
        BEHAVIOURAL_TEXT,
        (
            Sweep(
                "voltages by formula",
                {
                    formula: f"*@ output out\nVI in 0 0\nB1 out 0 V={{{formula.replace('x', 'v(in)')}}}"
                    for formula in ("2*tanh(x)", "limit(x, -1, 0.5)", "uramp(x)**1.5", "pwrs(x, 0.5)")
                },
                ("x [V]", "output [V]"),
                "VI",
                sweep(-2.0, 2.0),
                "v(out)",
            ),
        ),
        formulas={
            "I": {"i": r"f(v(a), v(b,c), i(V1), \ldots), \quad \text{from + through the source to -}"},
            "V": {"v": r"f(v(a), v(b,c), i(V1), \ldots), \quad \text{of + over -}"},
        },
        source="the formula in the netlist; functions as in ngspice, LTspice and PSpice",
        elements=("B", "E", "G"),
        example="B1 out 0 V={2*tanh(v(in))}\nG1 a 0 VALUE={1m*uramp(v(a,b))**1.5}\n"
        "E1 c 0 TABLE {v(in)} = (-1,-1) (0.5,0.5)",
        remarks=BEHAVIOURAL_REMARKS,
    ),
)
