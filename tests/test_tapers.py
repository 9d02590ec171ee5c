"""Laws of pots by a table: what a netlist says is what every command turns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator

from circuitnn import CircuitModel, NetlistError, parse_netlist
from circuitnn.cli.settings import apply_settings
from circuitnn.dual import variables
from circuitnn.inspection import inspect
from circuitnn.netlist import format_netlist
from circuitnn.symbolic import Operations
from circuitnn.tapers import LEARNED, MAX_POINTS, position_at, table, table_points, value_at

POINTS = ((0.0, 0.0), (0.25, 0.08), (0.5, 0.2), (0.8, 0.75), (1.0, 1.0))
TAPER = "table(0:0 0.25:0.08 0.5:0.2 0.8:0.75 1:1)"


def netlist(taper: str, value: float = 0.2) -> str:
    return (
        f"t\n*@ input Vin\n*@ output out\n*@ knob mix taper={taper}\n.param mix={value}\nVin in 0 0\n"
        "R1 in out {1k+mix*10k}\nR2 out 0 10k\nC1 out 0 10n\n"
    )


rising = st.lists(st.floats(1e-3, 1.0), min_size=2, max_size=12).map(lambda d: np.cumsum([0.0, *d]) / np.sum(d))


@given(positions=rising, values=rising, at=st.floats(0.0, 1.0))
def test_a_table_is_the_monotone_cubic_through_its_points(positions: np.ndarray, values: np.ndarray, at: float) -> None:
    count = min(len(positions), len(values))
    x = np.append(positions[: count - 1], 1.0)
    y = np.append(values[: count - 1], 1.0)
    taper = table(list(zip(x, y, strict=True)))
    assert np.array(table_points(taper)) == pytest.approx(np.stack([x, y], 1), abs=1e-15)
    reference = PchipInterpolator(x, y)
    assert float(value_at(taper, at)) == pytest.approx(float(reference(at)), abs=1e-12)
    assert position_at(taper, float(value_at(taper, at))) == pytest.approx(at, abs=1e-6)
    # The same in torch and in numbers that carry derivatives.
    position = torch.tensor(at, dtype=torch.float64, requires_grad=True)
    there = value_at(taper, position, Operations(torch))
    (slope,) = torch.autograd.grad(there, position)
    assert float(there.detach()) == pytest.approx(float(reference(at)), abs=1e-12)
    # At a point itself both neighbours' slopes agree.
    assert float(slope) == pytest.approx(float(reference.derivative()(at)), rel=1e-6, abs=1e-6)
    dual = value_at(taper, variables({"position": at})["position"])
    assert float(dual.gradient[0]) == pytest.approx(float(slope), rel=1e-9, abs=1e-12)


def test_a_table_on_a_card_is_turned_everywhere() -> None:
    circuit = parse_netlist(netlist(TAPER))
    assert circuit.knobs[0].taper == TAPER
    assert circuit.notes == ()
    again = parse_netlist(format_netlist(circuit))
    assert again.knobs == circuit.knobs
    expected = float(PchipInterpolator(*np.array(POINTS).T)(0.6))
    model = CircuitModel(circuit, learn=[])
    assert float(model.overrides({"mix": 0.6})["mix"]) == pytest.approx(expected, rel=1e-12)
    changed, _ = apply_settings(circuit, ["mix=0.6"])
    assert float(changed.parameters["mix"]) == pytest.approx(expected, rel=1e-12)
    (knob,) = inspect(changed).knobs
    assert knob.position == pytest.approx(0.6, abs=1e-9)
    # A knob that moves is at every moment where the table says.
    u = torch.randn(1, 96, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    still = CircuitModel(changed, learn=[])(u)[0]
    moved = model(u, knobs={"mix": torch.full((1, 96), 0.6, dtype=torch.float64)})[0]
    assert torch.allclose(still, moved, rtol=1e-9, atol=1e-12)


def test_a_law_that_is_to_be_learned_is_linear_until_then() -> None:
    circuit = parse_netlist(netlist(LEARNED))
    assert parse_netlist(format_netlist(circuit)).knobs == circuit.knobs
    assert float(CircuitModel(circuit, learn=[]).overrides({"mix": 0.3})["mix"]) == 0.3


@pytest.mark.parametrize(
    ("taper", "message"),
    [
        ("table(0:0)", "expected 2 to 100 points, found 1"),
        (f"table({' '.join(['0:0'] * (MAX_POINTS + 1))})", "expected 2 to 100 points, found 101"),
        ("table(0:0 0.5 1:1)", r"expected a point such as 0\.5:0\.1, found '0\.5'"),
        ("table(0:0 x:y 1:1)", "expected a point such as"),
        ("table(0:0 0.5:-1 1:1)", "expected a point such as"),
        ("table(0.1:0 1:1)", "expected points from position 0 to position 1"),
        ("table(0:0 0.9:1)", "expected points from position 0 to position 1"),
        ("table(0:0 0.5:0.5 0.4:0.6 1:1)", r"rise, found 0\.4:0\.6 after 0\.5:0\.5"),
        ("table(0:0 0.5:0.5 0.6:0.5 1:1)", r"rise, found 0\.6:0\.5 after 0\.5:0\.5"),
        ("table(0:0 1:1.5)", r"expected values from 0 to 1, found 1\.5"),
        ("table(0:0 1:1", r"expected one of linear, .* or table"),
        ("logarithmic", r"unknown taper 'logarithmic'\n.*known: linear, log, antilog, s, learned, or table\(0:0"),
    ],
)
def test_what_is_no_law_is_named_with_its_place(taper: str, message: str) -> None:
    with pytest.raises(NetlistError, match=rf"<netlist>:4:13: (?s:.*){message}"):
        parse_netlist(netlist(taper))
