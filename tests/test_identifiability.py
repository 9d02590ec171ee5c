"""What the recordings could not tell, and what a measurement adds."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.coverage import pink, plucked
from hypothesis import given
from hypothesis import strategies as st

from circuitnn import CircuitModel, Recording, read_netlist
from circuitnn.fitting.identifiability import MULTIMETER, best_measurement, identifiability, scale_ambiguity
from circuitnn.fitting.problem import Point, Problem, observe
from circuitnn.fitting.uncertainty import information
from circuitnn.fitting.unknowns import Unknowns
from circuitnn.rendering import render

NAMES = ("R1", "C1", "C2", "R9")
WIDTHS = np.array([0.05, 0.1, 0.1, 0.05])


def after_a_measurement(spread: np.ndarray, k: int) -> np.ndarray:
    """The covariance when value k is known to MULTIMETER as well: informations add."""
    told = np.linalg.inv(spread)
    told[k, k] += MULTIMETER**-2.0
    return np.linalg.inv(told)


@given(st.integers(0, 2**32 - 1))
def test_the_measurement_advised_is_the_best_of_all(seed: int) -> None:
    generator = np.random.default_rng(seed)
    told = generator.standard_normal((4, 2)) * 10.0 ** generator.uniform(0.0, 3.0, 2)
    spread = np.linalg.inv(told @ told.T + np.diag(WIDTHS**-2.0))
    found = best_measurement(NAMES, spread, WIDTHS, NAMES)
    left = []
    for k in range(4):
        after = np.diag(after_a_measurement(spread, k))
        left.append(float(np.sum(np.delete((np.diag(spread) - after) / WIDTHS**2, k))))
    if found is None:
        # Nothing is gained much, or what is gained is spread over values none of which is helped by half.
        k = int(np.argmax(left))
        ratios = np.delete(np.sqrt(np.diag(after_a_measurement(spread, k)) / np.diag(spread)), k)
        assert left[k] < 0.1 or min(ratios) > 0.5
        return
    k = NAMES.index(found.name)
    after = after_a_measurement(spread, k)
    for name, factor in found.narrowed.items():
        j = NAMES.index(name)
        assert factor == pytest.approx(np.sqrt(spread[j, j] / after[j, j]), rel=1e-3)


def of(netlist: str, learn: list[str] | str) -> tuple[CircuitModel, Unknowns]:
    circuit = read_netlist(f"netlists/{netlist}.cir")
    model = CircuitModel(circuit, 44100, 1, learn)
    return model, Unknowns(model, [], None)


def test_values_that_are_known_together_only_are_named() -> None:
    _, unknowns = of("diode_clipper", ["R1", "C1", "DCLIP.n"])
    # R1 * C1 to 0.3 %, N to 0.1 %, and beside that what the tolerances say.
    product = np.array([1.0, 1.0, 0.0, 0.0])
    told = np.diag(np.append(unknowns.widths[:3], unknowns.widths[3]) ** -2.0) + np.outer(product, product) / 0.003**2
    told[2, 2] += 0.001**-2.0
    found = identifiability(unknowns.told(np.zeros(4)), np.linalg.inv(told), ())
    (pair,) = found.pairs
    assert (set(pair.names), pair.exponent) == ({"R1", "C1"}, 1)
    assert pair.stderr == pytest.approx(0.003, rel=0.01)
    # R1 is known to 5 % beforehand, C1 to 10 %, and their product ties them together.
    assert pair.singles[0] == pytest.approx((0.0488**-2 + 0.0953**-2) ** -0.5, rel=0.01)
    assert found.measurement is not None
    assert found.measurement.name in pair.names
    (helped,) = found.measurement.narrowed
    assert helped in pair.names


def ambiguity(netlist: str, learn: list[str], peak: float = 1.0) -> tuple[str, ...]:
    """What can grow with the input level, from a recording of the netlist itself with noise at -60 dB."""
    model, unknowns = of(netlist, learn)
    generator = np.random.default_rng(3)
    dry = plucked(generator)
    dry *= peak / np.abs(dry).max()
    wet = render(model, dry, 1.0).output
    wet += 1e-3 * wet.std() * pink(generator, len(wet))
    problem = Problem(unknowns, model, observe(model, [Recording(dry, wet, 44100)], [0.0]))
    point = Point(np.zeros(len(unknowns)), np.zeros(1))
    (there,) = problem.evaluate([point])
    assert there is not None
    return scale_ambiguity(unknowns.names, information(there, problem.samples(point.delays)), unknowns.widths)


def test_the_level_is_tied_to_the_voltages_of_the_nonlinearity() -> None:
    # v / (N Vt) and i / IS are all that the diode law knows; impedances may take the part of IS.
    assert ambiguity("diode_clipper", ["R1", "C1", "DCLIP.is", "DCLIP.n"])[:1] == ("DCLIP.n",)


def test_a_known_nonlinearity_fixes_the_level() -> None:
    assert ambiguity("diode_clipper", ["R1", "C1", "DCLIP.is"]) == ()


def test_a_linear_circuit_ties_nothing_to_the_level() -> None:
    assert ambiguity("fmv_tone_stack", ["R1", "C1", "C2"]) == ()
