"""What every LTspice has and a netlist from it does not bring along: its own libraries."""

from __future__ import annotations

import re
from pathlib import PureWindowsPath

# File names, and the folders lib/cmp and lib/sub of an installation.
_LIBRARY = re.compile(
    r"(standard|user)\.(dio|bjt|mos|jft|cap|ind|res|bead)|(ltc|adi)[0-9]*\.lib|universalopamps?[0-9]?[ab]?\.(sub|lib)"
    r"|opamp\.sub|.*[\\/]lib[\\/](cmp|sub)[\\/][^\\/]*",
    re.IGNORECASE,
)
# The subcircuit behind the symbol Opamps\opamp: one pole, and 1 ohm at the output.
_OPAMP = """\
.subckt opamp invin noninvin out Aol=100k GBW=10Meg
G1 0 out noninvin invin {Aol}
R1 out 0 1
C1 out 0 {Aol/(2*pi*GBW)}
.ends
"""
# Those behind the UniversalOpamps: level 1 is linear, the others have a slew limit and rails. Offset, noise, the second
# pole and the current limit are left out.
_LEVEL = """\
.subckt {name} inp inn vp vn out Avol=1Meg GBW=10Meg Slew=10Meg ilimit=25m rail=0 Vos=0 phimargin=45
+ en=0 enk=0 in=0 ink=0 Rin=500Meg
{core}
.ends
"""
_LINEAR = "X1 inp inn out OPAMP_LINEAR GBW={GBW} AVOL={Avol} RIN={Rin}"
_LIMITED = "X1 inp inn vp vn out OPAMP_LIMITED GBW={GBW} AVOL={Avol} RIN={Rin} SR={Slew} DROPP={rail} DROPN={rail}"
_UNIVERSAL = "".join(
    # Older versions write level.2, newer ones level2.
    _LEVEL.format(name=f"level{dot}{level}", core=_LINEAR if level == "1" else _LIMITED)
    for level in ("1", "2", "3a", "3b")
    for dot in ("", ".")
)


def is_ltspice_library(name: str) -> bool:
    """Whether a file of that name or path comes with LTspice."""
    return bool(_LIBRARY.fullmatch(name) or _LIBRARY.fullmatch(PureWindowsPath(name).name))


def stand_in(name: str) -> str:
    """The cards that take the place of a library of LTspice; "" for one whose parts the netlist must bring along, or
    the part library has."""
    base = PureWindowsPath(name).name.lower()
    if base == "opamp.sub":
        return _OPAMP
    return _UNIVERSAL if base.startswith("universalopamp") else ""
