"""Tube subcircuits as they are published run unedited: curves, ngspice, a stage driven far beyond its grid."""

from __future__ import annotations

import ngspice
import numpy as np
import pytest
import torch
from circuits import parse
from tubes import FORMS, Form

from circuitnn.circuit import Circuit
from circuitnn.discretise import DiscreteCircuit
from circuitnn.inspection import inspect
from circuitnn.mna import build_equations
from circuitnn.netlist import format_netlist, parse_netlist
from circuitnn.operating_point import operating_point
from circuitnn.simulate import kernel_id, simulate
from circuitnn.symbolic import NUMPY
from circuitnn.values import resolve


def bench(form: Form) -> Circuit:
    """Ideal sources at every electrode. The cathode is not at ground, so that a lost node shows."""
    screen = " s" if form.pentode else ""
    return parse(f"{form.cards}Vk k 0 2\nVp p k 100\nVg g k -1\nVs s k 250\nX1 p g k{screen} TUBE\n")


PLATE = np.array([0.5, 5.0, 40.0, 120.0, 250.0, 400.0])
GRID = np.array([-20.0, -4.5, -2.0, -1.0, -0.25])


@pytest.mark.parametrize("name", FORMS)
def test_plate_curves_are_those_of_the_published_equations(name: str) -> None:
    form, circuit = FORMS[name], bench(FORMS[name])
    equations = build_equations(circuit)
    row = equations.unknowns.index("i(VP)")

    def plate_current(v_pk: float, v_gk: float) -> float:
        values = resolve(circuit, {"VP": v_pk, "VG": v_gk}, NUMPY)
        return -operating_point(equations, values, circuit.temperature).z[row]

    expected = form.current(*np.meshgrid(PLATE, GRID)) + form.leak * PLATE
    found = np.array([[plate_current(float(p), float(g)) for p in PLATE] for g in GRID])
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert expected.max() > 1e-4


@pytest.mark.ngspice
@pytest.mark.parametrize("name", FORMS)
def test_ngspice_has_the_same_curves_for_what_is_written(name: str) -> None:
    """The writer puts every form into functions that ngspice has."""
    form = FORMS[name]
    circuit = bench(form)
    assert parse_netlist(format_netlist(circuit)) == circuit
    deck = format_netlist(circuit).removesuffix(".end\n") + ".options reltol=1e-9 abstol=1e-15 vntol=1e-12\n"
    for v_gk in (-4.5, -1.0, -0.25):
        swept = ngspice.vectors(deck, f"alter VG = {v_gk}\ndc VP 20 400 95", ["i(VP)"])
        expected = form.current(swept["scale"], np.full_like(swept["scale"], v_gk)) + form.leak * swept["scale"]
        np.testing.assert_allclose(-swept["i(VP)"], expected, rtol=1e-6, atol=1e-11)


STAGE = (
    "Vbb bb 0 300\nVin in 0 0\nRG1 in g 68k\nRP bb p 100k\nRK k 0 1.5k\nCK k 0 22u\nCO p out 22n\nRL out 0 1meg\n"
    "Vss s 0 250\n*@ input Vin\n*@ output out\n*@ output p\n"
)


def stage(form: Form) -> Circuit:
    # A power pentode has a power pentode's load.
    cards = STAGE.replace("100k", "5k").replace("1.5k", "250") if form.pentode else STAGE
    return parse(f"{form.cards}{cards}X1 p g k{' s' if form.pentode else ''} TUBE\n")


@pytest.mark.parametrize("name", FORMS)
def test_a_stage_with_fifty_volt_into_the_grid_never_fails(name: str) -> None:
    form = FORMS[name]
    model = DiscreteCircuit(stage(form), 96000.0)
    time = np.arange(4800) / 96000.0
    burst = np.sin(2 * np.pi * 1000.0 * time) + 0.5 * np.sign(np.sin(2 * np.pi * 170.0 * time))
    levels = torch.tensor([0.1, 5.0, 33.0])[:, None, None]
    x, w, _ = model.initial_state({}, model.operating_point({}))
    run = simulate(
        levels * torch.as_tensor(burst)[None, :, None], x.detach().expand(3, -1), w.detach().expand(3, -1),
        model.theta({}).detach()[None], kernel_id(model.structure, True),
    )  # fmt: skip
    assert run.report[:, 1].tolist() == [0, 0, 0]
    plate = run.y[..., 1].numpy()
    assert np.isfinite(plate).all()
    assert form.lowest < plate.min() < 40.0 < 280.0 < plate.max() < 500.0
    # It amplifies, and it clips.
    assert np.ptp(plate[0]) > 0.5
    assert np.ptp(plate[2]) > 20.0


@pytest.mark.parametrize("name", FORMS)
def test_ports(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """How large the system is that Newton's method solves, and how large it would be with every step as a device."""
    form, circuit = FORMS[name], stage(FORMS[name])
    assert len(inspect(circuit).ports) == form.ports
    monkeypatch.setattr("circuitnn.mna.without_intermediate_nodes", lambda circuit: circuit)
    assert len(inspect(circuit).ports) == form.steps
