"""Networks: chunks equal the whole, sizes equal the papers', knobs and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from circuitnn import CircuitnnError
from circuitnn.models.architectures import ARCHITECTURES, build_network
from circuitnn.models.conv_lstm import ConvLstm
from circuitnn.models.iir import Biquad, second_order
from circuitnn.models.network import Network, expect, parameter_count
from circuitnn.models.recurrent import Recurrent
from circuitnn.models.state_trajectory_network import StateTrajectoryNetwork
from circuitnn.models.wiener_hammerstein import WienerHammerstein

# The large ones differ from the small ones in width only.
SHAPES = [name for name in ARCHITECTURES if not name.endswith(("64", "96", "150", "64-plain", "96-plain"))]
KNOBS = ("drive", "tone")

pytestmark = pytest.mark.usefixtures("one_thread")


def network(name: str, knobs: tuple[str, ...] = (), seed: int = 0) -> Network:
    """In double precision, with every parameter far from where it starts."""
    torch.manual_seed(seed)
    model = build_network(name, knobs).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def noise(batch: int, time: int, seed: int = 0) -> Tensor:
    return torch.randn(batch, time, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", SHAPES)
@settings(max_examples=3)
@given(
    st.one_of(st.sampled_from([1, 7, 64]).map(lambda n: [n] * (70 // n + 1)), st.lists(st.integers(0, 50), max_size=4))
)
def test_chunks_equal_the_whole(name: str, sizes: list[int]) -> None:
    model = network(name, KNOBS)
    u = noise(2, sum(sizes) + 5)
    knobs = {"drive": torch.rand(2, u.shape[1], dtype=torch.float64), "tone": torch.tensor([0.2, 0.9])}
    with torch.no_grad():
        whole, _ = model(u, knobs=knobs)
        parts, state, at = [], None, 0
        # The first chunk is not empty: nothing has no state.
        for size in [3, *sizes, 2]:
            chunk = slice(at, at + size)
            y, state = model(u[:, chunk], state, {"drive": knobs["drive"][:, chunk], "tone": knobs["tone"]})
            parts.append(y)
            at += size
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in SHAPES if build_network(name).input_weights()])
def test_a_network_begins_with_the_level_that_it_expects(name: str) -> None:
    """A quiet input goes through it as one of rms 1 would have, but for what passes it by."""
    before, after, u = network(name, KNOBS), network(name, KNOBS), noise(1, 60)
    expect(after, 0.01)
    knobs = {"drive": 0.2, "tone": 0.7}
    y, quiet = before(u, knobs=knobs)[0], after(0.01 * u, knobs=knobs)[0]
    if isinstance(after, Recurrent) and after.residual:
        y, quiet = y - u, quiet - 0.01 * u
    torch.testing.assert_close(quiet, y)


@pytest.mark.parametrize("name", SHAPES)
def test_recordings_of_a_batch_do_not_touch_each_other(name: str) -> None:
    model, u = network(name, KNOBS), noise(3, 40)
    positions = torch.tensor([0.1, 0.5, 0.8])
    with torch.no_grad():
        together, _ = model(u, knobs={"drive": positions, "tone": 0.3})
        for k in range(3):
            alone, _ = model(u[k : k + 1], knobs={"drive": float(positions[k]), "tone": 0.3})
            torch.testing.assert_close(together[k : k + 1], alone, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", SHAPES)
def test_nothing_is_heard_before_it_happens_and_every_parameter_counts(name: str) -> None:
    model, u = network(name, KNOBS), noise(1, 60)
    later = u.clone()
    later[:, 30:] += 1.0
    first, _ = model(u, knobs={"drive": 0.2, "tone": 0.7})
    second, _ = model(later, knobs={"drive": 0.2, "tone": 0.7})
    torch.testing.assert_close(first[:, :30], second[:, :30], rtol=0.0, atol=0.0)
    assert (first[:, 30] != second[:, 30]).all()
    turned, _ = model(u, knobs={"drive": 0.8, "tone": 0.7})
    assert (turned != first).any()
    second.square().sum().backward()
    idle = {key for key, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()}
    # The last layer's residual leads nowhere; the published models have it all the same.
    assert all("residuals" in key for key in idle), idle


@pytest.mark.parametrize("name", [name for name in SHAPES if name.startswith(("wavenet", "nam", "tcn", "conv"))])
def test_convolutions_begin_after_a_long_silence(name: str) -> None:
    model = network(name)
    with torch.no_grad():
        at_once, _ = model(torch.zeros(1, 1, 1))
        settled, _ = model(torch.zeros(1, 8000, 1))
        # A state of zeros is not that of silence, because biases sound.
        zeros = tuple(torch.zeros_like(part) for part in model(torch.zeros(1, 1, 1))[1])
        settling, _ = model(torch.zeros(1, 8000, 1), zeros)
    torch.testing.assert_close(settled, at_once.expand_as(settled), rtol=1e-9, atol=1e-12)
    if not name.startswith("tcn"):
        assert (settling[:, 0] != settling[:, -1]).all()
        torch.testing.assert_close(settling[:, -1], at_once[:, 0], rtol=1e-9, atol=1e-12)


# LSTM: 4 h (h + 1) weights, two biases of 4 h each in torch's layout, and h + 1 in the dense layer, as in SimpleRNN
# files; GRU: three quarters of the layer. WaveNet: the numbers in the authors' files Models/WaveNet*.json: 1 -> c, in
# each layer c -> 2 c of 3 taps and c -> c, at the end c times layers -> 1, all with biases. NAM: one fewer than its
# files have weights (13,802 in wavenet_a1_standard.nam), the last being the fixed head scale. STN: 2-4-4-4-1, one bias.
# MLP: 150-1000-500-1, the sizes that T. Schmitz's Model6_SpeedTest notebook names.
COUNTS = {
    "lstm-32": 4 * 32 * 33 + 2 * 4 * 32 + 33, "lstm-64": 17217, "lstm-96": 38113,
    "lstm-32-plain": 4513, "lstm-64-plain": 17217, "lstm-96-plain": 38113,
    "gru-32": 3 * 32 * 33 + 2 * 3 * 32 + 33, "gru-64": 12929, "gru-96": 28609,
    "gru-32-plain": 3393, "gru-64-plain": 12929, "gru-96-plain": 28609,
    "wavenet-1": 2 * 16 + 10 * (1536 + 32 + 256 + 16) + 161,
    "wavenet-2": 2 * 8 + 18 * (384 + 16 + 64 + 8) + 145,
    "wavenet-3": 2 * 16 + 18 * (1536 + 32 + 256 + 16) + 289,
    "nam-standard": 13802 - 1, "nam-lite": 6554 - 1, "nam-feather": 3026 - 1, "nam-nano": 842 - 1,
    "stn": 8 + 16 + 4 + 16 + 4,
    "mlp": 150 * 1000 + 1000 + 1000 * 500 + 500 + 501,
}  # fmt: skip


def test_sizes_are_those_that_the_authors_programs_counted() -> None:
    """T. Schmitz's notebooks print them (Model3_LSTM 91351, Model5_LSTMConv 57051, there with 25 channels and 100
    units); TensorFlow's LSTM has one bias of 4 h where torch's has two."""
    assert parameter_count(build_network("seq2seq-lstm-150")) - 4 * 150 == 91351
    assert parameter_count(ConvLstm(hidden_size=100, channels=25)) - 4 * 100 == 57051


@pytest.mark.parametrize("name", COUNTS)
def test_sizes_are_the_papers(name: str) -> None:
    assert parameter_count(build_network(name)) == COUNTS[name]


@pytest.mark.parametrize(("name", "thousands"), [("tcn-100", 26), ("tcn-300", 51)])
def test_sizes_of_conditioned_networks_are_the_papers(name: str, thousands: int) -> None:
    assert round(parameter_count(build_network(name, KNOBS)) / 1000) == thousands


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(CircuitnnError, match="did you mean wavenet-1"):
        build_network("wavenet1")


def test_knobs_are_asked_for_by_name() -> None:
    model, u = build_network("lstm-32", KNOBS), torch.zeros(2, 10, 1)
    with pytest.raises(CircuitnnError, match="no position of knob 'tone'"):
        model(u, knobs={"drive": 0.5})
    with pytest.raises(CircuitnnError, match="no knob 'gain'"):
        model(u, knobs={"drive": 0.5, "tone": 0.5, "gain": 0.5})
    with pytest.raises(CircuitnnError, match="one per recording"):
        model(u, knobs={"drive": torch.zeros(3), "tone": 0.5})
    moving = torch.linspace(0.5, 1.5, 10).expand(2, -1)
    for outside, place in ((1.25, "1.25"), (float("nan"), "nan"), (torch.tensor([0.5, -0.5]), "-0.5"), (moving, "1.0")):
        with pytest.raises(CircuitnnError, match=rf"tone is at {place}.*from 0 to 1"):
            model(u, knobs={"drive": 0.5, "tone": outside})
    with pytest.raises(CircuitnnError, match=r"\[batch, time, 1\]"):
        model(u[..., 0])


def test_a_biquad_is_the_difference_equation() -> None:
    biquad = Biquad().double()
    with torch.no_grad():
        biquad.b.copy_(torch.tensor([0.5, -0.3, 0.2]))
        biquad.p.copy_(torch.tensor([-0.7, 0.4]))
    b, a = (c.tolist() for c in biquad.coefficients())
    x = noise(1, 50)[..., 0]
    y, _ = biquad(x, torch.zeros(1, 2))
    expected, inputs = [0.0, 0.0], [0.0, 0.0, *x[0].tolist()]
    for n in range(2, 52):
        past = b[0] * inputs[n] + b[1] * inputs[n - 1] + b[2] * inputs[n - 2]
        expected.append(past - a[1] * expected[n - 1] - a[2] * expected[n - 2])
    np.testing.assert_allclose(y[0].tolist(), expected[2:], rtol=1e-12, atol=1e-14)


@given(st.floats(-20.0, 20.0), st.floats(-20.0, 20.0))
def test_a_biquad_is_stable(first: float, second: float) -> None:
    biquad = Biquad().double()
    with torch.no_grad():
        biquad.p.copy_(torch.tensor([first, second]))
    assert np.abs(np.roots(biquad.coefficients()[1].tolist())).max() <= 1.0 + 1e-7


@pytest.mark.parametrize("time", [1, 2, 9])
def test_gradients_of_filters(time: int) -> None:
    x, state = noise(2, time)[..., 0], noise(2, 2, seed=1)[..., 0]
    b, a = torch.tensor([0.5, -0.3, 0.2]).double(), torch.tensor([-1.2, 0.7]).double()
    inputs = tuple(part.requires_grad_() for part in (x, b, a, state))

    def filtered(x: Tensor, b: Tensor, a: Tensor, state: Tensor) -> Tensor:
        return second_order(x, b, torch.cat([torch.ones_like(a[:1]), a]), state)

    assert torch.autograd.gradcheck(filtered, inputs)


@pytest.mark.parametrize("name", ["wiener-hammerstein", "stn", "state-space-gru", "lstm-32", "nam-nano"])
def test_gradients_pass_from_chunk_to_chunk(name: str) -> None:
    """Without cutting, backpropagation through chunks is that through the whole."""
    model, u = network(name), noise(1, 12)
    gradients = []
    for sizes in ([12], [1, 5, 6]):
        model.zero_grad()
        state, parts = None, []
        for chunk in u.split(sizes, 1):
            y, state = model(chunk, state)
            parts.append(y)
        torch.cat(parts, 1).pow(3).sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-9, atol=1e-12)


def test_wiener_hammerstein_without_a_curve_is_its_filters() -> None:
    model = WienerHammerstein((1, 1)).double()
    with torch.no_grad():
        model.curve[-1].weight.zero_()
        model.curve[-1].bias.zero_()
        impulse = torch.zeros(1, 30, 1)
        impulse[0, 0] = 1.0
        y, _ = model(impulse)
    torch.testing.assert_close(y, impulse.double())


def test_the_step_of_an_stn_follows_the_sampling_rate() -> None:
    """At four times the rate with a quarter of the step it goes the same way, as well as Euler's method does."""
    model = network("stn")
    assert isinstance(model, StateTrajectoryNetwork)
    slow = torch.sin(torch.arange(200, dtype=torch.float64) / 40.0)[None, :, None]
    with torch.no_grad():
        model.layers[-1].weight *= 0.1
        coarse, _ = model(slow)
        model.step = 0.25
        fine, _ = model(slow.repeat_interleave(4, 1))
    assert coarse.abs().max() > 0.05
    torch.testing.assert_close(fine[:, 3::4], coarse, rtol=0.0, atol=0.02 * float(coarse.abs().max()))
