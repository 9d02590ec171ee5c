"""The whole chain against ngspice: transients from stored reference data, operating points from the program itself."""

from __future__ import annotations

import re
from pathlib import Path

import agreement
import ngspice
import numpy as np
import pytest
import torch
from circuits import CASES
from law_sources import SEMICONDUCTORS, with_law_sources
from reference.load import NAMES, accuracy_case

from circuitnn.circuit import Circuit
from circuitnn.discretise import DiscreteCircuit
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import read_netlist

NETLISTS = sorted((Path(__file__).parents[1] / "netlists").glob("*.cir"))


@pytest.mark.parametrize("name", NAMES)
def test_transient_agrees_with_ngspice(name: str) -> None:
    case = accuracy_case(name, oversample=64)
    model = CircuitModel(read_netlist(case.netlist), case.sample_rate, oversample=1)
    with torch.no_grad():
        y, _ = model(torch.as_tensor(case.input)[None, :, None])
    error = y[0, :: case.stride, 0].numpy() - case.output
    # ngspice's own error is -120 to -130 dB (tests/reference/README.md); the project promises -80 dB.
    assert 20.0 * np.log10(np.linalg.norm(error) / np.linalg.norm(case.output)) < -110.0


@pytest.mark.parametrize("name", NAMES)
def test_oversampled_audio_rate_agrees_with_ngspice(name: str) -> None:
    """At 8 x 44.1 kHz the truncation error is larger; it must fall as the square of the step, not flatten out."""
    levels = []
    for oversample in (8, 32):
        case = accuracy_case(name, oversample)
        model = CircuitModel(read_netlist(case.netlist), case.sample_rate, oversample=1)
        with torch.no_grad():
            y, _ = model(torch.as_tensor(case.input)[None, :, None])
        error = y[0, :: case.stride, 0].numpy() - case.output
        levels.append(20.0 * np.log10(np.linalg.norm(error) / np.linalg.norm(case.output)))
    assert levels[0] < -60.0
    # 40 log10(4) = 24.1 dB
    assert levels[0] - levels[1] == pytest.approx(24.1, abs=2.0)


def _node_voltages(circuit: Circuit) -> dict[str, float]:
    model = DiscreteCircuit(circuit, 48000.0)
    point = model.operating_point({})
    found = dict(zip(model.equations.unknowns, point.z, strict=True))
    return {node: found[f"v({node})"] for node in circuit.nodes if f"v({node})" in found}


@pytest.mark.ngspice
@pytest.mark.parametrize("name", CASES)
def test_operating_point_of_each_kind_of_circuit(name: str) -> None:
    found = _node_voltages(CASES[name].circuit)
    tight = ".options reltol=1e-6 abstol=1e-15 vntol=1e-9"
    expected = ngspice.vectors(f"test\n{CASES[name].netlist}\n{tight}", "op", [f"v({node})" for node in found])
    for node, voltage in found.items():
        assert voltage == pytest.approx(expected[f"v({node})"][0], rel=1e-4, abs=1e-4), node


@pytest.mark.ngspice
@pytest.mark.parametrize("path", NETLISTS, ids=lambda path: path.stem)
def test_ngspice_runs_every_netlist_unmodified(path: Path) -> None:
    printed = ngspice.run_file(path)
    node = read_netlist(path).outputs[0][0]
    assert re.search(rf"^\s*{node}\s+[-+.\de]+\s*$", printed, flags=re.MULTILINE), printed


@pytest.mark.ngspice
@pytest.mark.parametrize("path", NETLISTS, ids=lambda path: path.stem)
def test_operating_point_of_every_netlist(path: Path) -> None:
    assert agreement.compare_rest(path).agrees


@pytest.mark.ngspice
@pytest.mark.parametrize("path", NETLISTS, ids=lambda path: path.stem)
def test_transient_of_every_netlist(path: Path) -> None:
    """One hot note; docs/make_circuits.py does all levels and positions of the knobs."""
    peak = agreement.PEAKS[agreement.kind_of(path)][1]
    own_laws = path.stem in agreement.OTHER_LAWS
    (found,) = agreement.compare(path, (peak,), (0.5,), agreement.NOTE, own_laws=own_laws)
    assert found.agrees, found


@pytest.mark.ngspice
@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if any(e.kind in SEMICONDUCTORS for e in case.circuit.elements)]
)
def test_laws_as_sources_have_this_program_s_operating_point(name: str) -> None:
    """ngspice solves what law_sources.py writes, so the laws are evaluated by a program that did not derive them."""
    circuit = CASES[name].circuit
    tight = ".options reltol=1e-6 abstol=1e-13 vntol=1e-9\n"
    found = _node_voltages(circuit)
    deck = ngspice.cards(with_law_sources(circuit)) + tight
    expected = ngspice.vectors(deck, "op", [f"v({node})" for node in found])
    for node, voltage in found.items():
        assert voltage == pytest.approx(expected[f"v({node})"][0], rel=1e-6, abs=1e-6), node
