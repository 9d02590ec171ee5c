"""Device laws, one file per family. Each is written once, in sympy; see `law.Law`."""

from circuitnn.devices.behavioural import BehaviouralDevice, behavioural_device
from circuitnn.devices.bjt import BJT
from circuitnn.devices.diode import BREAKDOWN_DIODE, DIODE, DIODE_PAIR
from circuitnn.devices.kinds import FAMILIES, MODEL_KINDS, Family, ModelKind
from circuitnn.devices.law import AMPERE_PER_VOLT, GMIN, TEMPERATURE, Junction, Law, Parameter

__all__ = [
    "AMPERE_PER_VOLT",
    "BJT",
    "BREAKDOWN_DIODE",
    "DIODE",
    "DIODE_PAIR",
    "FAMILIES",
    "GMIN",
    "MODEL_KINDS",
    "TEMPERATURE",
    "BehaviouralDevice",
    "Family",
    "Junction",
    "Law",
    "ModelKind",
    "Parameter",
    "behavioural_device",
]
