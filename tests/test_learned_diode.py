"""A diode whose law is a network: it begins as Shockley's, is passive with any weights, and learns another law."""

from __future__ import annotations

import math
from pathlib import Path

import ngspice
import numpy as np
import pytest
import torch
from exported import Exported
from hypothesis import given, settings
from hypothesis import strategies as st
from learned_laws import NETWORK, SHOCKLEY, TRUTHS, believed, law_current, visited
from plane import assert_passive, coefficients, curve
from reference.signals import SHORT, guitar
from scipy.signal import decimate

from circuitnn import Circuit, CircuitModel, FitResult, NetlistError, Recording, fit, parse_netlist, write_netlist
from circuitnn.devices import DIODE, DIODE_PAIR, Law, learned_diode, weight_names
from circuitnn.discretise import DiscreteCircuit
from circuitnn.exporting.subject import Subject
from circuitnn.learnables import CURRENT_TOLERANCE, SLOPE_TOLERANCE
from circuitnn.netlist import format_netlist, read_netlist
from circuitnn.runs import load_run

RATE = 44100
CLIPPER = """Vin in 0 0
R1 in out 2.2k
C1 out 0 10n
D1 out 0 DS
D2 0 out DS
.model DS D(IS=2.52n N=1.752)
*@ input Vin
*@ output out
"""
# Far from Shockley's law: a current hundreds of times larger, plateaus, and different directions.
LEARNED = CLIPPER + "*@ network D1 D2 units=3 reach=0.6 forward=(300 1.4 0.6 0.2 0.1) reverse=(5 0.01 2 1 0.3)"
weights = st.floats(math.log(1e-4), math.log(1e4)).map(math.exp)


@st.composite
def laws(draw: st.DrawFn) -> tuple[Law, dict[str, float]]:
    units, both = draw(st.integers(1, 6)), draw(st.booleans())
    law = learned_diode(units, both)
    parameters = {name: draw(weights) for name in weight_names(units, both)}
    parameters |= {"is": draw(st.floats(1e-14, 1e-6)), "n": draw(st.floats(1.0, 3.0)), "reach": draw(st.floats(0.1, 3))}
    return law, parameters


def tone(time: int, batch: int = 1) -> torch.Tensor:
    n = torch.arange(time, dtype=torch.float64)
    return torch.stack([2.0 * torch.sin(0.05 * (1 + k) * n) for k in range(batch)])[..., None]


def test_untrained_it_is_shockleys_law() -> None:
    v = np.linspace(-0.9, 0.9, 181)[None]
    for plain, both in ((DIODE, False), (DIODE_PAIR, True)):
        parameters = {"is": 3e-9, "n": 1.7, "area": 2.0, **({"reverse_area": 0.5} if both else {})}
        expected = curve(plain, v, coefficients(plain, parameters, 320.0))[1]
        found = curve(learned_diode(5, both), v, coefficients(learned_diode(5, both), parameters, 320.0))[1]
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-22)


@settings(max_examples=60)
@given(laws(), st.integers(0, 1000))
def test_with_any_weights_it_is_passive_and_its_current_rises(drawn: tuple[Law, dict[str, float]], seed: int) -> None:
    law, parameters = drawn
    c = coefficients(law, parameters)
    assert_passive(law, c, np.random.default_rng(seed))
    assert curve(law, np.zeros((1, 1)), c)[1] == 0.0
    v = np.sort(np.concatenate([np.linspace(-3.0, 3.0, 601), np.random.default_rng(seed).uniform(-0.5, 0.5, 200)]))
    current = curve(law, v[None], c)[1]
    # What rounding leaves where an exponential stands beside 1.
    rounding = 1e-15 * sum(c[symbol] for symbol in c if symbol.name.endswith("_saturation"))
    assert (np.diff(current) >= -rounding).all()


def test_reach_is_where_shockleys_law_carries_10_milliamperes() -> None:
    law = learned_diode(4, both=False)
    given_, default = (
        {s.name: x for s, x in coefficients(law, p).items()} for p in ({"is": 1e-9, "reach": 2.0}, {"is": 1e-9})
    )
    assert given_["density"] == pytest.approx(2.0)
    v = np.array([[4.0 / default["density"]]])
    assert curve(DIODE, v, coefficients(DIODE, {"is": 1e-9}))[1] == pytest.approx(1e-2, rel=1e-6)


def test_a_weight_acts_where_its_unit_is() -> None:
    """The slope of the logarithm at a corner is Shockley's times the weight of that corner, beyond the last its own."""
    law, factors = learned_diode(3, both=False), (1.0, 0.5, 2.0, 0.3)
    parameters = {"is": 1e-12, "n": 1.5, "reach": 1.2, "forward_current": 7.0}
    parameters |= {f"forward_{k}": factor for k, factor in enumerate(factors)}
    c = coefficients(law, parameters)
    corners = np.array([0.4, 0.8, 1.2, 2.0])
    step, saturation = 1e-6, 7e-12
    above, below = (np.log(curve(law, (corners + sign * step)[None], c)[1] + saturation) for sign in (1, -1))
    shockley = 1.0 / (1.5 * 8.617333262e-5 * 300.15)
    np.testing.assert_allclose((above - below) / (2.0 * step), shockley * np.array([0.5, 2.0, 0.3, 0.3]), rtol=1e-4)


def test_weights_have_the_gradients_of_differences() -> None:
    """Adjoint and tangent pass of the compiled core, through the whole model with its operating point."""
    model = CircuitModel(parse_netlist(f"test\n{LEARNED}\n"), 96000.0, oversample=1)
    assert [c.name for c in model.coordinates] == [f"D1.{name}" for name in weight_names(3, both=True)]
    u = tone(300)
    probe = torch.randn(300, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def value(free: torch.Tensor) -> torch.Tensor:
        y, _ = torch.func.functional_call(model, {"free": free}, (u,))
        return y[0, :, 0] @ probe

    start = torch.linspace(-0.3, 0.4, len(model.free), dtype=torch.float64)
    (reverse,) = torch.autograd.grad(value(start.requires_grad_()), start)
    forward = torch.stack([torch.func.jvp(value, (start.detach(),), (d,))[1] for d in torch.eye(len(start)).double()])
    step = 1e-5
    with torch.no_grad():
        differences = torch.stack(
            [(value(start + step * d) - value(start - step * d)) / (2.0 * step) for d in torch.eye(len(start)).double()]
        )
    # No voltage comes near the last unit of the reverse direction.
    assert (reverse[:-1] != 0.0).all()
    torch.testing.assert_close(reverse, differences, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(forward, reverse, rtol=1e-8, atol=1e-10)


def test_compiled_core_and_reference_agree() -> None:
    circuit = parse_netlist(f"test\n{LEARNED}\n")
    with torch.no_grad():
        compiled, reference = (CircuitModel(circuit, 96000.0, 1, compiled=c)(tone(150, 2))[0] for c in (True, False))
    assert compiled.abs().max() > 0.2
    torch.testing.assert_close(compiled, reference, rtol=1e-8, atol=1e-9)


def test_exported_it_plays_what_python_plays(tmp_path: Path) -> None:
    circuit = parse_netlist(f"test\n{LEARNED}\n")
    program = Exported(Subject("learned", circuit, RATE, 4), tmp_path, 4)
    u = tone(400)
    with torch.no_grad():
        expected = CircuitModel(circuit, RATE, 4)(u)[0][0].numpy()
    found, failures = program.run(u[0].numpy(), {}, RATE, [150, 250])
    assert failures == 0
    assert np.abs(found - expected).max() < 1e-9 * np.abs(expected).max()


def test_a_series_resistance_stays_in_series() -> None:
    """Of an antiparallel pair too, as one diode conducts at a time; the plain circuit has two devices."""
    cards = CLIPPER.replace("N=1.752", "N=1.752 RS=100")
    one, two = parse_netlist(f"test\n{cards}\n*@ network D1 D2"), parse_netlist(f"test\n{cards}")
    assert len(DiscreteCircuit(one, RATE).equations.ports) == 1
    with torch.no_grad():
        network, plain = (CircuitModel(circuit, 96000.0, 1)(5.0 * tone(400))[0] for circuit in (one, two))
    torch.testing.assert_close(network, plain, rtol=0.0, atol=1e-6)


# --- The card -------------------------------------------------------------------------------------------------------


def test_the_card_names_the_weights_and_is_written_again(tmp_path: Path) -> None:
    circuit = parse_netlist(f"test\n{LEARNED}\n")
    (network,) = circuit.networks
    assert network.values["D1.forward_current"] == 300
    assert float(network.values["D1.reverse_0"]) == 0.01
    assert format_netlist(parse_netlist(format_netlist(circuit))) == format_netlist(circuit)
    write_netlist(circuit, tmp_path / "changed.cir", {"D1.reverse_3": 1.25, "D1.forward_2": 1 / 3})
    (changed,) = read_netlist(tmp_path / "changed.cir").networks
    expected = network.weights | {"reverse_3": 1.25, "forward_2": 1 / 3}
    assert {name: float(x) for name, x in changed.weights.items()} == {name: float(x) for name, x in expected.items()}


def test_what_is_learned_and_how_far_it_may_go() -> None:
    circuit = parse_netlist(f"test\n{CLIPPER}*@ network D1 D2 units=2\n*@ learn R1")
    learned = CircuitModel(circuit, RATE).coordinates
    assert [c.name for c in learned] == ["R1", *(f"D1.{name}" for name in weight_names(2, both=True))]
    widths = {c.name: c.width for c in learned}
    assert widths["D1.forward_current"] == pytest.approx(math.log1p(CURRENT_TOLERANCE))
    assert widths["D1.reverse_2"] == pytest.approx(math.log1p(SLOPE_TOLERANCE))
    assert not CircuitModel(circuit, RATE, learn=["R1"]).coordinates[1:]


@pytest.mark.parametrize(
    ("card", "message", "column"),
    [
        ("D3", "no diode is called 'D3'", 12),
        ("R1", "no diode is called 'R1'", 12),
        ("D1 D1", "D1 belongs to a network already", 15),
        ("D1 DX", "DX is not of the same model and between the same two nodes as D1", 15),
        ("units=4", "expected the names of diodes", 19),
        ("D1 units=0", "expected 1 to 64 units, found 0", 15),
        ("D1 units=many", "expected a number of units such as 16, found 'many'", 15),
        ("D1 reach=-1", "expected numbers above 0, found '-1'", 15),
        ("D1 reach=(1 2)", "expected one voltage", 15),
        ("D1 reach=far", "expected a number, found 'far'", 15),
        ("D1 reverse=(1 1 1)", "D1 alone has no reverse direction to learn", 15),
        ("D1 D2 units=4 forward=(1 2)", "expected 6 weights for 4 units, found 2", 26),
        ("D1 forward=(1 2 3) forward=(1 2 3)", "forward is given twice", 31),
        ("D1 hidden=8", "expected diodes or units=..., found 'hidden=8'", 15),
    ],
)
def test_a_wrong_card_is_shown(card: str, message: str, column: int) -> None:
    with pytest.raises(NetlistError) as raised:
        parse_netlist(f"test\n{CLIPPER}DX out in DS\n*@ network {card}\n")
    assert raised.value.message == message
    assert raised.value.location is not None
    assert (raised.value.location.line, raised.value.location.column) == (11, column)


@pytest.mark.ngspice
def test_ngspice_runs_the_file_with_the_plain_law() -> None:
    """The card is a comment there: what the network begins as."""
    cards = f"test\n{CLIPPER}Vb b 0 1.5\nRb b out 1k\n*@ network D1 D2\n"
    (voltage,) = ngspice.vectors(cards + ".options reltol=1e-6 vntol=1e-9\n", "op", ["v(out)"])["v(out)"]
    model = DiscreteCircuit(parse_netlist(cards), RATE)
    found = model.operating_point({}).z[model.equations.unknowns.index("v(out)")]
    assert found == pytest.approx(voltage, abs=1e-6)


# --- Learning in place ----------------------------------------------------------------------------------------------


def recording(name: str) -> Recording:
    """A moment of guitar through the true circuit, at 16 times the rate."""
    factor = 16
    time = np.arange(round(0.25 * RATE) * factor) / (RATE * factor) + SHORT.plucks[0].start
    dry = 4.0 * guitar(SHORT, time)
    with torch.no_grad():
        model = CircuitModel(parse_netlist(TRUTHS[name].netlist), RATE * factor, oversample=1)
        wet = model(torch.as_tensor(dry)[None, :, None])[0][0, :, 0].numpy()
    return Recording(dry[::factor], decimate(wet, factor, ftype="fir"), RATE, name=name, delay=0.0)


def learned(card: str, recording: Recording) -> FitResult:
    model = CircuitModel(believed(card), RATE, oversample=4)
    return fit(model, [recording], input_level=1.0, output_gain=1.0)


def test_a_law_that_the_netlist_has_wrong_is_learned_from_input_and_output(tmp_path: Path) -> None:
    truth, heard = TRUTHS["germanium"], recording("germanium")
    wrong, right = (learned(card, heard) for card in (SHOCKLEY, f"{NETWORK} units=12"))
    assert right.esr < 0.1 * wrong.esr
    assert right.failures == 0
    v = visited(truth, heard.wet, share=0.01)
    np.testing.assert_allclose(law_current(right.circuit, right.values, v), truth.current(v), rtol=0.02)
    # Saved and read again it is the same law, in the run as in its netlist.
    right.save(tmp_path / "run")
    run = load_run(tmp_path / "run")
    fitted: Circuit = read_netlist(tmp_path / "run" / "fitted.cir")
    expected = law_current(right.circuit, right.values, v)
    np.testing.assert_allclose(law_current(right.circuit, run.values, v), expected, rtol=1e-12)
    np.testing.assert_allclose(law_current(fitted, {}, v), expected, rtol=1e-12)
    assert "What flows through D1 and D2" in (tmp_path / "run" / "report.html").read_text()
