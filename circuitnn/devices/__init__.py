"""Device laws, one file per family. Each is written once, in sympy (`law.Law`); `kinds` says which .model has which."""

from circuitnn.devices.behavioural import BehaviouralDevice, behavioural_device, bundled_sources
from circuitnn.devices.bjt import BJT, GUMMEL_POON, GUMMEL_POON_NKF
from circuitnn.devices.diode import BREAKDOWN_DIODE, COMPLETE_DIODE, DIODE, DIODE_PAIR
from circuitnn.devices.jfet import JFET
from circuitnn.devices.junction import ZERO_CELSIUS
from circuitnn.devices.kinds import FAMILIES, MODEL_KINDS, SENSED_CURRENT, Family, ModelKind, register
from circuitnn.devices.law import (
    AMPERE_PER_VOLT,
    GMIN,
    TEMPERATURE,
    THERMAL_VOLTAGE,
    Junction,
    Law,
    Parameter,
    at_temperature,
)
from circuitnn.devices.learned_diode import DIRECTIONS, learned_diode, weight_names
from circuitnn.devices.mosfet import NMOS, PMOS

__all__ = [
    "AMPERE_PER_VOLT",
    "BJT",
    "BREAKDOWN_DIODE",
    "COMPLETE_DIODE",
    "DIODE",
    "DIODE_PAIR",
    "DIRECTIONS",
    "FAMILIES",
    "GMIN",
    "GUMMEL_POON",
    "GUMMEL_POON_NKF",
    "JFET",
    "MODEL_KINDS",
    "NMOS",
    "PMOS",
    "SENSED_CURRENT",
    "TEMPERATURE",
    "THERMAL_VOLTAGE",
    "ZERO_CELSIUS",
    "BehaviouralDevice",
    "Family",
    "Junction",
    "Law",
    "ModelKind",
    "Parameter",
    "at_temperature",
    "behavioural_device",
    "bundled_sources",
    "learned_diode",
    "register",
    "weight_names",
]
