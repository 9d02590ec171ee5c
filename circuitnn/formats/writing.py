"""Networks in the formats of this program and of other engines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from circuitnn.formats.aidax import write_aidax
from circuitnn.formats.nam import write_nam
from circuitnn.formats.native import write_native
from circuitnn.formats.rtneural import write_rtneural
from circuitnn.formats.saved_network import SavedNetwork
from circuitnn.formats.simple_rnn import write_simple_rnn
from circuitnn.placing import place_file

WRITERS: Mapping[str, Callable[[SavedNetwork, Path], None]] = MappingProxyType(
    {
        "json": write_native,
        "nam": lambda saved, path: place_file(path, write_nam(saved)),
        "aidax": lambda saved, path: place_file(path, write_aidax(saved)),
        "rtneural": lambda saved, path: place_file(path, write_rtneural(saved)),
        "simplernn": lambda saved, path: place_file(path, write_simple_rnn(saved)),
    }
)
