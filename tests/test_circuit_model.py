"""CircuitModel as its users meet it: shapes, state, knobs, learning, copies, messages."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from circuits import CASES, excitation, parse
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from circuitnn.errors import CircuitError, CircuitnnError
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import read_netlist
from circuitnn.values import literal_values

NETLISTS = Path(__file__).parents[1] / "netlists"
NAMES = ("rc_lowpass", "diode_clipper", "series_diode_clipper", "fmv_tone_stack", "ts808_clipper", "ts808")
RATE = 44100.0


def netlist_model(name: str, oversample: int = 1, learn: str | list[str] = "marked") -> CircuitModel:
    return CircuitModel(read_netlist(NETLISTS / f"{name}.cir"), RATE, oversample, learn)


def signal(time: int, batch: int = 1, seed: int = 0, level: float = 0.3) -> Tensor:
    """Band-limited noise bursts [batch, time, 1] in volt."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(batch, 1, time + 8, dtype=torch.float64, generator=generator)
    smooth = torch.nn.functional.avg_pool1d(noise, 9, stride=1) * 3.0
    return level * smooth.transpose(1, 2)


# --- Chunks, batches, rates -----------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(
    name=st.sampled_from(["diode_clipper", "series_diode_clipper", "fmv_tone_stack", "ts808_clipper", "ts808"]),
    oversample=st.sampled_from([1, 4]),
    cuts=st.lists(st.integers(1, 399), max_size=4, unique=True),
)
def test_chunks_equal_the_whole(name: str, oversample: int, cuts: list[int]) -> None:
    model, u = netlist_model(name, oversample), signal(400, batch=2)
    with torch.no_grad():
        whole, end = model(u)
        pieces, state = [], None
        for first, last in zip([0, *sorted(cuts)], [*sorted(cuts), 400], strict=True):
            y, state = model(u[:, first:last], state)
            pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, 1), whole, rtol=0, atol=1e-9)
    assert state is not None
    torch.testing.assert_close(state.x, end.x, rtol=1e-6, atol=1e-9 * float(end.x.abs().max()))
    assert torch.equal(state.up, end.up)


@pytest.mark.parametrize("oversample", [1, 4])
def test_an_empty_chunk(oversample: int) -> None:
    model = netlist_model("diode_clipper", oversample)
    _, state = model(signal(100))
    y, after = model(torch.zeros(1, 0, 1), state)
    assert y.shape == (1, 0, 1)
    for before, now in zip(state, after, strict=True):
        torch.testing.assert_close(now, before, rtol=0, atol=1e-9)


@pytest.mark.parametrize("oversample", [1, 2, 4, 8])
def test_oversampling_approaches_the_converged_solution(oversample: int) -> None:
    """Against 32 small steps a sample, without aliases of the input: the delay is as stated and the error small."""
    time = torch.arange(1500, dtype=torch.float64)
    u = 0.8 * torch.sin(2 * torch.pi * 0.013 * time)[None, :, None]
    with torch.no_grad():
        y = netlist_model("diode_clipper", oversample).render(u)[0, :, 0]
        fine_time = torch.arange(1500 * 32, dtype=torch.float64) / 32
        fine = 0.8 * torch.sin(2 * torch.pi * 0.013 * fine_time)[None, :, None]
        model = CircuitModel(read_netlist(NETLISTS / "diode_clipper.cir"), RATE * 32, oversample=1)
        expected = model(fine)[0][0, ::32, 0]
    inside = slice(200, 1300)
    error = (y - expected)[inside].square().mean().sqrt() / expected[inside].square().mean().sqrt()
    assert float(error) < {1: 1e-2, 2: 3e-3, 4: 1e-3, 8: 5e-4}[oversample]


def test_latency_is_what_comes_out_late() -> None:
    u = torch.zeros(1, 300, 1, dtype=torch.float64)
    u[0, 50] = 1.0
    for oversample in (1, 2, 4, 8):
        # 10 megaohm with 1 picofarad would be slow; 1 ohm with 1 picofarad passes everything.
        model = CircuitModel(
            parse("Vin in 0 0\nR1 in out 1\nC1 out 0 1p\n*@ input Vin\n*@ output out"), RATE, oversample
        )
        y, _ = model(u)
        assert int(y[0, :, 0].argmax()) == 50 + model.latency
        assert int(model.render(u)[0, :, 0].argmax()) == 50
        assert model.render(u).shape == u.shape


@pytest.mark.parametrize("name", ["ts808_clipper", "ts808", "fmv_tone_stack"])
def test_a_batch_with_a_knob_per_recording_equals_one_by_one(name: str) -> None:
    model, u = netlist_model(name, 2), signal(200, batch=4)
    knob = model.circuit.knobs[0].name
    positions = torch.tensor([0.0, 0.3, 0.7, 1.0], dtype=torch.float64)
    others = {k.name: 0.4 for k in model.circuit.knobs[1:]}
    with torch.no_grad():
        together, state = model(u, knobs={knob: positions, **others})
        for k in range(4):
            alone, end = model(u[k : k + 1], knobs={knob: float(positions[k]), **others})
            torch.testing.assert_close(together[k], alone[0], rtol=0, atol=1e-9)
            torch.testing.assert_close(state.w[k], end.w[0], rtol=0, atol=1e-9)
    assert float((together[0] - together[3]).abs().max()) > 1e-3


def test_two_inputs_and_several_outputs() -> None:
    model = CircuitModel(CASES["two_inputs"].circuit, 96000.0, oversample=4, learn=[])
    y, _ = model(excitation("two_inputs", 100, batch=3))
    assert y.shape == (3, 100, len(CASES["two_inputs"].circuit.nodes))
    # The first two outputs are the inputs, in order, late by the latency.
    model = CircuitModel(CASES["two_inputs"].circuit, 96000.0, oversample=1, learn=[])
    u = excitation("two_inputs", 50)
    torch.testing.assert_close(model(u)[0][..., :2], u, rtol=0, atol=1e-9)


def test_single_precision_input_is_computed_in_double() -> None:
    model, u = netlist_model("ts808_clipper", 4), signal(100).float()
    y, state = model(u)
    assert y.dtype == state.x.dtype == torch.float64
    assert torch.equal(y, model(u.double())[0])


def test_gradients_reach_a_single_precision_input() -> None:
    u = signal(50).float().requires_grad_()
    netlist_model("diode_clipper")(u)[0].square().sum().backward()
    assert u.grad is not None
    assert u.grad.dtype == torch.float32
    assert u.grad.abs().max() > 0.0


# --- Code around the model ------------------------------------------------------------------------------------------


# dynamo looks at the .grad of whatever it resumes with after a graph break.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_code_around_the_model_compiles() -> None:
    model, u = netlist_model("diode_clipper", 2), signal(80)

    def loss(gain: Tensor, u: Tensor) -> Tensor:
        y, _ = model(torch.tanh(gain * u))
        return torch.log1p(y.square().mean())

    compiled = torch.compile(loss, backend="eager")
    gain = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    plain = torch.autograd.grad(loss(gain, u), (gain, model.free))
    traced = torch.autograd.grad(compiled(gain, u), (gain, model.free))
    for found, expected in zip(traced, plain, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)


def test_a_network_after_the_circuit_trains() -> None:
    model, u = netlist_model("diode_clipper", learn=["R1"]), signal(200)
    with torch.no_grad():
        target = 0.7 * netlist_model("diode_clipper")(u)[0]
        model.set_values({"R1": 4e3})
    gain = torch.nn.Linear(1, 1, bias=False, dtype=torch.float64)
    optimiser = torch.optim.Adam([*model.parameters(), *gain.parameters()], lr=0.05)
    losses = []
    for _ in range(200):
        optimiser.zero_grad()
        loss = (gain(model(u)[0]) - target).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 1e-3 * losses[0]
    assert model.component_values()["R1"] == pytest.approx(2200.0, rel=0.05)


# --- Knobs ----------------------------------------------------------------------------------------------------------


def level(name: str, frequency: float, knobs: dict[str, float], amplitude: float = 1e-3) -> float:
    """Gain at one frequency [Hz] for a small tone."""
    model = netlist_model(name)
    time = torch.arange(8820, dtype=torch.float64) / RATE
    u = amplitude * torch.sin(2 * torch.pi * frequency * time)[None, :, None]
    with torch.no_grad():
        y = model(u, knobs=knobs)[0][0, 4410:, 0]
    y = y - y.mean()
    return float(y.square().mean().sqrt() / (amplitude / 2**0.5))


@pytest.mark.parametrize(
    ("name", "knob", "frequency", "others"),
    [
        ("fmv_tone_stack", "treble", 6000.0, {"middle": 0.5, "bass": 0.5}),
        ("fmv_tone_stack", "bass", 80.0, {"middle": 0.5, "treble": 0.5}),
        ("fmv_tone_stack", "middle", 500.0, {"treble": 0.5, "bass": 0.5}),
        ("ts808_clipper", "drive", 1000.0, {}),
        ("ts808", "drive", 1000.0, {"tone": 0.5, "level": 0.5}),
        ("ts808", "tone", 4000.0, {"drive": 0.5, "level": 0.5}),
        ("ts808", "level", 1000.0, {"drive": 0.5, "tone": 0.5}),
    ],
)
def test_turning_a_knob_up_raises_what_it_is_for(
    name: str, knob: str, frequency: float, others: dict[str, float]
) -> None:
    gains = [level(name, frequency, {knob: position, **others}) for position in (0.0, 0.3, 0.6, 1.0)]
    assert gains == sorted(gains)
    assert gains[-1] > 1.5 * gains[0]


def test_drive_has_the_gain_of_the_schematic() -> None:
    """1 + Z_f / Z_g at 1 kHz, from the parts: an audio-taper pot passes 10 % of its track at half a turn."""
    s = 2j * torch.pi * 1000.0
    for position, track in ((0.0, 0.0), (0.5, 0.1), (1.0, 1.0)):
        feedback = 1.0 / (1.0 / (51e3 + 10.0 + 500e3 * track) + s * 51e-12)
        high_pass = s * 1e-6 * 10e3 / (1.0 + s * 1e-6 * 10e3)
        expected = abs(high_pass * (1.0 + feedback / (4.7e3 + 1.0 / (s * 47e-9))))
        # Small enough that the diodes hardly conduct; their slope at 0 V is IS / (N V_T), 2 * 56 nS.
        assert level("ts808_clipper", 1000.0, {"drive": position}, 1e-5) == pytest.approx(expected, rel=0.07)


def test_a_taper_turns_position_into_value() -> None:
    cards = ".param p=0.1\nVin in 0 0\nR1 in out {{10k*p + 1}}\nR2 out 0 10k\n*@ input Vin\n*@ output out\n"
    cards += "*@ knob p 0.5 taper={}"
    expected = {"linear": 0.5, "log": 0.1, "antilog": 0.9, "s": 0.5}
    for taper, value in expected.items():
        text = cards.format(taper).replace("p=0.1", f"p={value}")
        model = CircuitModel(parse(text), RATE, oversample=1, learn=[])
        y, _ = model(torch.ones(1, 3, 1), knobs={"p": 0.5})
        assert float(y[0, 0, 0]) == pytest.approx(10e3 / (10e3 + 10e3 * value + 1.0), rel=1e-9)
        # Without knobs the .param of the netlist holds.
        assert float(model(torch.ones(1, 3, 1))[0][0, 0, 0]) == pytest.approx(float(y[0, 0, 0]), rel=1e-9)


def test_gradients_reach_a_knob() -> None:
    model, u = netlist_model("ts808_clipper"), signal(100)
    position = torch.tensor([0.4], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(u, knobs={"drive": position})[0].square().sum(), position)
    loss = [float(model(u, knobs={"drive": 0.4 + d})[0].detach().square().sum()) for d in (1e-4, -1e-4)]
    assert float(gradient) == pytest.approx((loss[0] - loss[1]) / 2e-4, rel=1e-6)


# --- Learning -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_marked_values_start_at_the_netlist_and_can_be_set(name: str) -> None:
    model = netlist_model(name)
    nominal = literal_values(model.circuit)
    assert {c.name for c in model.coordinates} == {learnable.name for learnable in model.circuit.learn}
    for key, value in model.component_values().items():
        assert value == pytest.approx(nominal[key], rel=1e-12)
    knobs = {knob.name for knob in model.circuit.knobs}
    wanted = {c.name: 0.3 if c.name in knobs else 1.1 * c.nominal for c in model.coordinates}
    model.set_values(wanted)
    assert model.component_values() == pytest.approx(nominal | wanted)


def test_setting_values_equals_another_netlist(netlists: Path) -> None:
    text = (netlists / "diode_clipper.cir").read_text()
    changed = parse(
        text.split("\n", 1)[1]
        .replace("R1  in  out 2.2k", "R1 in out 3.3k")
        .replace("N=1.752", "N=1.9")
        .replace(".end", "")
    )
    model, u = netlist_model("diode_clipper"), signal(200)
    model.set_values({"R1": 3300.0, "DCLIP.n": 1.9})
    torch.testing.assert_close(model(u)[0], CircuitModel(changed, RATE, oversample=1)(u)[0], rtol=0, atol=1e-9)


def test_learn_all_and_by_name() -> None:
    every = {c.name for c in netlist_model("ts808_clipper", learn="all").coordinates}
    assert every == {"C2", "R5", "R4", "C3", "R6", "C4", "DCLIP.is", "DCLIP.n", "drive"}
    assert [c.name for c in netlist_model("ts808_clipper", learn=["r4", "dclip.IS"]).coordinates] == ["R4", "DCLIP.is"]
    with pytest.raises(CircuitnnError, match="R99"):
        netlist_model("ts808_clipper", learn=["R99"])
    with pytest.raises(CircuitnnError, match="marked"):
        netlist_model("ts808_clipper", learn="everything")


def test_state_dict_round_trip(tmp_path: Path) -> None:
    model, u = netlist_model("ts808_clipper"), signal(100)
    model.set_values({"R4": 5.6e3, "DCLIP.is": 1e-9, "drive": 0.8})
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    other = netlist_model("ts808_clipper")
    assert not torch.allclose(other(u)[0], model(u)[0], rtol=0, atol=1e-3)
    other.load_state_dict(torch.load(tmp_path / "weights.pt"))
    torch.testing.assert_close(other(u)[0], model(u)[0], rtol=0, atol=1e-12)
    assert other.component_values() == model.component_values()


def test_deepcopy_is_independent() -> None:
    model, u = netlist_model("series_diode_clipper", 2), signal(100)
    before = model(u)[0].detach()
    other = copy.deepcopy(model)
    torch.testing.assert_close(other(u)[0], before, rtol=0, atol=1e-12)
    other.set_values({"R1": 10e3})
    assert not torch.allclose(other(u)[0], before, rtol=0, atol=1e-3)
    torch.testing.assert_close(model(u)[0], before, rtol=0, atol=1e-12)
    # A copy runs the same compiled core, and does not build a second one.
    assert other.kernel == model.kernel


def test_the_model_moves_with_its_netlist_not_with_the_default_type() -> None:
    model = netlist_model("diode_clipper")
    assert [(name, p.dtype, tuple(p.shape)) for name, p in model.named_parameters()] == [("free", torch.float64, (4,))]
    assert not list(model.buffers())


# --- Messages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(100,), (1, 100), (100, 1, 2), (1, 100, 2)])
def test_a_wrong_shape_is_explained(shape: tuple[int, ...]) -> None:
    with pytest.raises(CircuitnnError, match=r"expected u of shape \[batch, time, 1\]"):
        netlist_model("diode_clipper")(torch.zeros(shape))


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"gain": 0.5}, "no knob 'gain'"),
        ({"drive": 1.5}, "from 0 to 1"),
        ({"drive": float("nan")}, "from 0 to 1"),
        ({"drive": torch.tensor([0.1, 0.2])}, r"one per recording \[3\]"),
    ],
)
def test_a_wrong_knob_is_explained(knobs: dict[str, float], message: str) -> None:
    with pytest.raises(CircuitnnError, match=message):
        netlist_model("ts808_clipper")(signal(10, batch=3), knobs=knobs)


@pytest.mark.parametrize(
    ("rate", "oversample", "word"), [(0.0, 1, "sample rate"), (float("nan"), 1, "sample rate"), (RATE, 3, "oversample")]
)
def test_a_wrong_rate_is_explained(rate: float, oversample: int, word: str) -> None:
    with pytest.raises(CircuitnnError, match=word):
        CircuitModel(CASES["rc"].circuit, rate, oversample)


def test_a_circuit_without_input_or_output_is_explained() -> None:
    with pytest.raises(CircuitError, match="input"):
        CircuitModel(parse("Vin in 0 0\nR1 in 0 1k"), RATE)


def test_a_value_out_of_range_is_explained() -> None:
    model = netlist_model("ts808_clipper")
    for name, value in (("R4", -1.0), ("R4", 0.0), ("drive", 1.2), ("R5", 1e3), ("R4", float("nan"))):
        with pytest.raises(CircuitnnError, match=name):
            model.set_values({name: value})
