"""What the pages of the vacuum tubes say, for make_devices.py: subcircuits of the part library."""

from __future__ import annotations

from device_curves import Sweep
from device_pages import Page, sweep

TRIODE_TEXT = """\
A vacuum triode after Koren: plate current by five parameters that follow from published curves. The grid conducts
through a resistor and a diode."""
TRIODE_FORMULAS = {
    "TRIODE": {
        r"e_1": r"\frac{v_{pk}}{\mathrm{KP}} \ln\left(1 + \exp\left(\mathrm{KP} \left(\frac{1}{\mathrm{MU}} + "
        r"\frac{v_{gk}}{\sqrt{\mathrm{KVB} + v_{pk}^2}}\right)\right)\right)",
        r"i_p": r"\frac{2}{\mathrm{KG1}} \max(e_1, 0)^{\mathrm{EX}}",
        r"i_g": r"1\,\text{nA} \left(e^{(v_{gk} - \mathrm{RGI}\,i_g) / V_T} - 1\right)",
    }
}
TRIODE_REMARKS = """\
The capacitances stand between the terminals; with the gain of the stage `CGP` is the Miller capacitance that is heard.
The netlists that learn a tube carry a copy of this subcircuit with `.param`s in place of the numbers, as
`tube_preamp.cir`. The tubes by number (`12AX7`, `12AU7`, `12AT7`, `12AY7`, `6SN7`) are in the
[part library](../parts.md)."""

DZ_TEXT = """\
A vacuum triode after Dempwolf and Zölzer, with a grid current that was measured as the plate's was: a stage that is
driven into it shifts its bias and blocks. All of the law is smooth."""
DZ_FORMULAS = {
    "TRIODE_DZ": {
        r"i_k": r"\mathrm{G} \left(\frac{1}{\mathrm{C}} \ln\left(1 + \exp\left(\mathrm{C} \left("
        r"\frac{v_{pk}}{\mathrm{MU}} + v_{gk}\right)\right)\right)\right)^{\mathrm{GAMMA}}",
        r"i_g": r"\mathrm{GG} \left(\frac{1}{\mathrm{CG}} \ln\left(1 + \exp\left(\mathrm{CG}\,v_{gk}"
        r"\right)\right)\right)^{\mathrm{XI}} + \mathrm{IG0}",
        r"i_p": r"i_k - i_g",
    }
}
DZ_REMARKS = """\
`12AX7_RSD1`, `12AX7_RSD2` and `12AX7_EHX1` are the three tubes that the authors measured. `IG0` flows at any voltage,
so the grid must have a resistor to somewhere; the plate current is not zero at a plate voltage of zero, where the law
gives the grid's current back."""

PENTODE_TEXT = """\
A pentode or beam tetrode after Koren: the cathode's current follows screen and grid, the plate takes a share of it
that saturates, the screen a current of its own."""
PENTODE_FORMULAS = {
    "PENTODE": {
        r"e_1": r"\frac{v_{sk}}{\mathrm{KP}} \ln\left(1 + \exp\left(\mathrm{KP} \left(\frac{1}{\mathrm{MU}} + "
        r"\frac{v_{gk}}{\sqrt{1\,\text{V}^2 + v_{sk}^2}}\right)\right)\right)",
        r"i_p": r"\frac{2}{\mathrm{KG1}} \max(e_1, 0)^{\mathrm{EX}} \arctan\frac{v_{pk}}{\mathrm{KVB}}",
        r"i_s": r"\frac{1}{\mathrm{KG2}} \max\left(\frac{v_{sk}}{\mathrm{MU}} + v_{gk}, 0\right)^{\mathrm{EX}}",
        r"i_g": r"1\,\text{nA} \left(e^{(v_{gk} - \mathrm{RGI}\,i_g) / V_T} - 1\right)",
    }
}
PENTODE_REMARKS = """\
Koren divides by the screen voltage itself; the root, as in the triode, keeps 0 V from being a pole and changes nothing
that can be heard. The screen's current does not depend on the plate, where a real one takes over what the plate does
not draw; and with the published numbers it is not the data sheet's (the comments of `circuitnn/parts/tubes.lib` say by
how much). The tubes by number (`EL34`, `EL84`, `6L6GC`, `6V6`, `KT88`, `EF86` ...) are in the
[part library](../parts.md)."""

PLATE = ("plate-cathode voltage [V]", "plate current [mA]")
PICTURED_GRIDS = (0.0, -1.0, -2.0, -3.0, -4.0)


def plate(tube: str, *grids: float) -> dict[str, str]:
    return {f"{grid:g} V": f"VP p 0 0\nVG g 0 {grid}\nX1 p g 0 {tube}" for grid in grids}


CAPACITANCES = {
    "CCG": ("F", "grid to cathode"),
    "CGP": ("F", "grid to plate"),
    "CCP": ("F", "plate to cathode"),
}
KOREN = {
    "MU": ("", "amplification"),
    "EX": ("", "exponent of the current"),
    "KG1": ("V^EX/A", "scale of the plate current: larger is less"),
    "KP": ("", "how sharply the current ends at cut-off"),
}
GRID = {"RGI": ("ohm", "in series with the grid"), **CAPACITANCES}

TUBE_PAGES = (
    Page(
        "triode",
        "Triode, after Koren",
        TRIODE_TEXT,
        (
            Sweep(
                "12AX7, for several grid voltages",
                plate("TRIODE", *PICTURED_GRIDS),
                PLATE,
                "VP",
                sweep(0.0, 400.0),
                "i(VP)",
                scale=-1e3,
                limits=(-0.1, 5.0),
            ),
            Sweep(
                "grid current at 200 V",
                {f"RGI={ohm}": f"VP p 0 200\nVG g 0 0\nX1 p g 0 TRIODE RGI={ohm}" for ohm in ("500", "2k", "10k")},
                ("grid-cathode voltage [V]", "grid current [mA]"),
                "VG",
                sweep(-1.0, 3.0),
                "i(VG)",
                scale=-1e3,
            ),
        ),
        formulas=TRIODE_FORMULAS,
        source="N. Koren, Improved vacuum tube models for SPICE simulations, Glass Audio 8 (1996) 5, p. 18",
        subcircuits={
            "TRIODE": {**KOREN, "KVB": ("V^2", "how the knee of the curves begins"), **GRID},
        },
        remarks=TRIODE_REMARKS,
    ),
    Page(
        "triode_dz",
        "Triode with grid current, after Dempwolf and Zölzer",
        DZ_TEXT,
        (
            Sweep(
                "12AX7 RSD-1, for several grid voltages",
                plate("TRIODE_DZ", 1.0, *PICTURED_GRIDS[:4]),
                PLATE,
                "VP",
                sweep(0.0, 400.0),
                "i(VP)",
                scale=-1e3,
                limits=(-0.5, 5.0),
            ),
            Sweep(
                "grid current at 200 V",
                {
                    label: f"VP p 0 200\nVG g 0 0\nX1 p g 0 12AX7_{label.replace('-', '')}"
                    for label in ("RSD-1", "RSD-2", "EHX-1")
                },
                ("grid-cathode voltage [V]", "grid current [mA]"),
                "VG",
                sweep(-1.0, 3.0),
                "i(VG)",
                scale=-1e3,
            ),
        ),
        formulas=DZ_FORMULAS,
        source="K. Dempwolf and U. Zölzer, A physically-motivated triode model for circuit simulations, DAFx-11 (2011)",
        subcircuits={
            "TRIODE_DZ": {
                "G": ("A/V^GAMMA", "perveance of the cathode"),
                "MU": ("", "amplification"),
                "GAMMA": ("", "exponent of the cathode current"),
                "C": ("1/V", "how sharply it ends at cut-off"),
                "GG": ("A/V^XI", "perveance of the grid"),
                "XI": ("", "exponent of the grid current"),
                "CG": ("1/V", "how sharply the grid current ends"),
                "IG0": ("A", "grid current that always flows"),
                **CAPACITANCES,
            }
        },
        remarks=DZ_REMARKS,
    ),
    Page(
        "pentode",
        "Pentode, after Koren",
        PENTODE_TEXT,
        (
            Sweep(
                "6L6GC, screen at 250 V, for several grid voltages",
                {
                    f"{grid} V": f"VP p 0 0\nVS s 0 250\nVG g 0 {grid}\nX1 p s g 0 PENTODE"
                    for grid in (0, -5, -10, -15, -20)
                },
                PLATE,
                "VP",
                sweep(0.0, 500.0),
                "i(VP)",
                scale=-1e3,
            ),
            Sweep(
                "transfer, plate and screen at 250 V",
                {
                    "plate": "VG g 0 0\nVP p 0 250\nVX p a 0\nVS s 0 250\nX1 a s g 0 PENTODE",
                    "screen": "VG g 0 0\nVP p 0 250\nVS s 0 250\nVX s a 0\nX1 p a g 0 PENTODE",
                },
                ("grid-cathode voltage [V]", "current [mA]"),
                "VG",
                sweep(-40.0, 0.0),
                "i(VX)",
                scale=1e3,
            ),
        ),
        formulas=PENTODE_FORMULAS,
        source="N. Koren, Improved vacuum tube models for SPICE simulations, Glass Audio 8 (1996) 5, p. 18, with his "
        "errata",
        subcircuits={
            "PENTODE": {
                "MU": KOREN["MU"],
                "EX": KOREN["EX"],
                "KG1": KOREN["KG1"],
                "KG2": ("V^EX/A", "scale of the screen current: larger is less"),
                "KP": KOREN["KP"],
                "KVB": ("V", "plate voltage of the knee"),
                **GRID,
            }
        },
        remarks=PENTODE_REMARKS,
    ),
)
