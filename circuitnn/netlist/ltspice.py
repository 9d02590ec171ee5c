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
_STAND_INS = {
    "opamp.sub": """\
.subckt opamp invin noninvin out Aol=100k GBW=10Meg
G1 0 out noninvin invin {Aol}
R1 out 0 1
C1 out 0 {Aol/(2*pi*GBW)}
.ends
"""
}


def is_ltspice_library(name: str) -> bool:
    """Whether a file of that name or path comes with LTspice."""
    return bool(_LIBRARY.fullmatch(name) or _LIBRARY.fullmatch(PureWindowsPath(name).name))


def stand_in(name: str) -> str:
    """The cards that take the place of a library of LTspice; "" for one whose parts the netlist must bring along, or
    the part library has."""
    return _STAND_INS.get(PureWindowsPath(name).name.lower(), "")
