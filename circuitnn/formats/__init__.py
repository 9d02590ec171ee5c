"""Files of networks: this program's own, and those of other engines, one format a file."""

from __future__ import annotations

from circuitnn.formats.reading import network_at, read_network
from circuitnn.formats.saved_network import SavedNetwork
from circuitnn.formats.writing import WRITERS

__all__ = ["WRITERS", "SavedNetwork", "network_at", "read_network"]
