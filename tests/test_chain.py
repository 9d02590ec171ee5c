"""Chains: circuits and networks in series are what their parts are one after the other, and are trained as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from circuitnn import Chain, CircuitModel, CircuitnnError, Recording, parse_netlist
from circuitnn.documents import Document
from circuitnn.formats import SavedNetwork, read_network
from circuitnn.losses import esr
from circuitnn.models.chain import SILENCE
from circuitnn.models.description import describe, read_description
from circuitnn.models.network import detached
from circuitnn.models.recurrent import Recurrent
from circuitnn.models.tcn import TemporalConvolutionalNetwork
from circuitnn.network_runs import save_network
from circuitnn.oversampling import HALF_LENGTH
from circuitnn.training import Preset, train

pytestmark = pytest.mark.usefixtures("one_thread")

RATE = 48000.0
CLIPPER = """clipper
Vin in 0 0
R1 in a 2.2k
R2 a out {100 + 10k*tone}
C1 out 0 10n
D1 out 0 DS
D2 0 out DS
.model DS D(IS=2.52n N=1.752)
.param tone=0.5
*@ knob tone
*@ learn R1 C1 DS.is
*@ input Vin
*@ output out
.end
"""


def circuit(rate: float = RATE, oversample: int = 1) -> CircuitModel:
    return CircuitModel(parse_netlist(CLIPPER), rate, oversample)


def lstm(knobs: tuple[str, ...] = (), size: int = 3, residual: bool = True) -> Recurrent:
    return Recurrent("lstm", size, residual, knobs)


def gray(oversample: int = 1) -> Chain:
    """Network, circuit, network, in double precision; one knob is the circuit's and the last network's."""
    torch.manual_seed(0)
    return Chain(lstm(("drive",)), circuit(oversample=oversample), lstm(("tone",))).double()


def noise(time: int, batch: int = 2) -> Tensor:
    return torch.randn(batch, time, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("oversample", [1, 2])
def test_a_chain_is_its_parts_one_after_the_other(oversample: int) -> None:
    first, middle, last = lstm(("drive",)), circuit(oversample=oversample), lstm(("tone",))
    chain, u = Chain(first, middle, last), noise(80)
    # It begins after half a second of silence: that of the first network is no zero.
    quiet = round(SILENCE * RATE)
    heard = torch.cat([u.new_zeros(2, quiet, 1), u], 1)
    assert chain.knob_names == ("drive", "tone")
    assert chain.latency == (2 * HALF_LENGTH if oversample > 1 else 0)
    assert chain.sample_rate == RATE
    tone = torch.tensor([0.2, 0.9])
    with torch.no_grad():
        found, _ = chain(u, knobs={"drive": 0.3, "tone": tone})
        y, _ = first(heard, knobs={"drive": 0.3})
        y, _ = middle(y, knobs={"tone": tone})
        expected, _ = last(y, knobs={"tone": tone})
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected[:, quiet:], rtol=1e-6, atol=1e-7)


def test_it_begins_without_a_thump() -> None:
    first, u = lstm(size=2, residual=False), torch.zeros(1, 500, 1)
    with torch.no_grad():
        first.dense.bias.fill_(17.0)
        coupling = "coupling\nVin in 0 0\nC1 in out 100n\nR1 out 0 220k\n*@ input Vin\n*@ output out\n.end\n"
        # In single precision a network's own rest is known to some 1e-6.
        y, _ = Chain(first, CircuitModel(parse_netlist(coupling), RATE, 1), lstm(size=2)).double()(u)
        before, _ = CircuitModel(parse_netlist(coupling), RATE, 1)(17.0 + u)
    assert before.abs().max() > 16.0
    assert (y - y[:, -1:]).abs().max() < 1e-8


@pytest.mark.parametrize("oversample", [1, 2])
def test_chunks_equal_the_whole(oversample: int) -> None:
    chain, u = gray(oversample), noise(150)
    knobs = {"drive": torch.rand(2, 150, dtype=torch.float64), "tone": torch.tensor([0.2, 0.9])}
    with torch.no_grad():
        whole, _ = chain(u, knobs=knobs)
        parts, state, at = [], None, 0
        for size in (1, 0, 40, 7, 102):
            chunk = slice(at, at + size)
            y, state = chain(u[:, chunk], state, {"drive": knobs["drive"][:, chunk], "tone": knobs["tone"]})
            parts.append(y)
            at += size
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-9, atol=1e-11)


def test_a_circuit_s_knob_moves_in_a_chain() -> None:
    """As in the circuit alone, to which it is handed on sample by sample."""
    alone, u = circuit(), noise(96)
    knob = torch.linspace(0.0, 1.0, 96, dtype=torch.float64).expand(2, -1)
    with torch.no_grad():
        found, _ = Chain(alone)(u, knobs={"tone": knob})
        expected, _ = alone(u, knobs={"tone": knob})
        still, _ = alone(u, knobs={"tone": 0.0})
    torch.testing.assert_close(found, expected, rtol=0.0, atol=0.0)
    assert (found - still).abs().max() > 1e-3


def test_chains_are_links_of_chains() -> None:
    torch.manual_seed(0)
    parts, u = (lstm(("drive",)), circuit(), TemporalConvolutionalNetwork(channels=4, knob_names=("drive",))), noise(60)
    knobs = {"drive": 0.3, "tone": 0.7}
    with torch.no_grad():
        flat, _ = Chain(*parts).eval()(u, knobs=knobs)
        nested, _ = Chain(parts[0], Chain(*parts[1:])).eval()(u, knobs=knobs)
    torch.testing.assert_close(nested, flat, rtol=1e-6, atol=1e-7)


def test_gradients_pass_through_a_circuit_between_two_networks() -> None:
    torch.manual_seed(0)
    chain = Chain(lstm(("drive",), size=2), circuit(), lstm(("tone",), size=2)).double()
    knobs = {"drive": 0.4, "tone": 0.6}
    names, values = zip(*chain.named_parameters(), strict=True)

    def output(u: Tensor, *parameters: Tensor) -> Tensor:
        y: Tensor = torch.func.functional_call(chain, dict(zip(names, parameters, strict=True)), (u, start, knobs))[0]
        return y

    # Through the silence before the beginning there are none.
    start = chain.rest(torch.tensor([[[0.4, 0.6]]], dtype=torch.float64))
    inputs = (noise(6, 1).requires_grad_(), *(value.detach().clone().requires_grad_() for value in values))
    assert torch.autograd.gradcheck(output, inputs, eps=1e-6, atol=1e-6, rtol=1e-5)
    gradients = torch.autograd.grad(output(*inputs).square().sum(), inputs)
    assert all(bool(gradient.any()) for gradient in gradients)


def test_truncated_backpropagation_lowers_the_loss_and_every_part_moves() -> None:
    """The ten lines of docs/networks.md, towards a clipper with other values."""
    torch.manual_seed(0)
    chain = Chain(lstm(), circuit(), lstm())
    u = 2.0 * torch.sin(0.03 * torch.arange(1200)).reshape(1, -1, 1) * torch.rand(4, 1, 1)
    truth = circuit()
    truth.set_values({"R1": 6.8e3, "C1": 22e-9})
    with torch.no_grad():
        target = truth(u, knobs={"tone": 0.5})[0].float()
    before = {name: value.detach().clone() for name, value in chain.named_parameters()}
    optimizer, errors = torch.optim.Adam(chain.parameters(), 0.02), list[float]()
    for _ in range(15):
        _, state = chain(u[:, :200], knobs={"tone": 0.5})
        for dry, wet in zip(u[:, 200:].split(500, 1), target[:, 200:].split(500, 1), strict=True):
            y, state = chain(dry, detached(state), {"tone": 0.5})
            loss = esr(y[..., 0], wet[..., 0])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        errors.append(float(loss.detach()))
    assert errors[-1] < 0.2 * errors[0]
    assert all(bool((value != before[name]).any()) for name, value in chain.named_parameters())


def test_the_chain_in_the_docs_plays(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[1]
    section = (root / "docs" / "networks.md").read_text().split("## Chains\n")[1]
    code = section.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(root)
    space: dict[str, Tensor] = {"u": noise(20).float()}
    exec(code, space)
    assert space["y"].shape == (2, 20, 1)


def test_weights_are_kept_by_name() -> None:
    saved = gray().state_dict()
    assert "parts.1.free" in saved
    other, u, knobs = gray(), noise(30), {"drive": 0.1, "tone": 0.2}
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += 0.1
        other.load_state_dict(saved)
        torch.testing.assert_close(other(u, knobs=knobs)[0], gray()(u, knobs=knobs)[0], rtol=0.0, atol=0.0)


def test_a_circuit_stays_in_double_precision() -> None:
    chain = Chain(lstm(), circuit()).float()
    assert {value.dtype for value in chain.parts[0].parameters()} == {torch.float32}
    assert {value.dtype for value in chain.parts[1].parameters()} == {torch.float64}


def test_parts_that_do_not_go_together_are_refused() -> None:
    two = parse_netlist(CLIPPER.replace("*@ output out", "*@ output out\n*@ output a"))
    for parts, message in (
        ((), "expected circuits and networks, found none"),
        ((circuit(48000.0), circuit(44100.0)), "the circuits of a chain run at 44100 Hz and 48000 Hz"),
        ((CircuitModel(two, RATE, 1),), "expected circuits of one input and one output, found one with 1 inputs and 2"),
    ):
        with pytest.raises(CircuitnnError) as raised:
            Chain(*parts)
        assert raised.value.message.startswith(message)
    with pytest.raises(CircuitnnError, match="no position of knob 'tone'"):
        Chain(lstm(), circuit())(noise(10))


# --- Files and training ---------------------------------------------------------------------------------------------


def clipped(rate: int, delay: int) -> Recording:
    """A clipper that is late by `delay` samples."""
    dry = np.convolve(np.random.default_rng(0).standard_normal(rate), np.ones(8) / 8.0, "same")
    wet = np.concatenate([np.zeros(delay), 0.5 * np.tanh(2.0 * dry)])[:rate]
    return Recording(dry, wet, rate, delay=float(delay), knobs={"tone": 0.5})


def test_the_harness_trains_a_chain_and_its_run_is_read_again(tmp_path: Path) -> None:
    """Also where the chain itself is late, by its oversampling: the wet is then less late than the recording."""
    torch.manual_seed(0)
    saved = SavedNetwork(Chain(circuit(8000.0, oversample=2), lstm()), "gray", 8000.0)
    preset = Preset(epochs=4, patience=4, learning_rate=2e-2, batch=4, segment=0.1, warm_up=100, chunk=350)
    trained = train(saved, [clipped(8000, 5)], preset=preset)
    assert trained.delay == 5.0 - saved.network.latency
    assert trained.errors[-1] < 0.7 * trained.errors[0]
    assert (trained.network.state_dict()["parts.0.free"] != 0.0).all()
    save_network(trained, tmp_path / "run", preset, 0)
    read = read_network(tmp_path / "run")
    assert (read.delay, read.sample_rate) == (trained.delay, 8000.0)
    u, knobs = noise(50).float(), {"tone": 0.3}
    with torch.no_grad():
        expected = trained.network(u, knobs=knobs)[0]
        torch.testing.assert_close(read.network(u, knobs=knobs)[0], expected, rtol=0.0, atol=0.0)
    of_chain = train(saved.network, [clipped(8000, 5)], preset=preset)
    assert (of_chain.architecture, of_chain.errors) == ("chain", trained.errors)
    with pytest.raises(CircuitnnError, match="expected 8000 Hz, the network's rate, found 4000 Hz"):
        train(SavedNetwork(saved.network, "gray"), [clipped(4000, 5)], preset=preset)


def damaged(data: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    """The description of a chain of a circuit and a network with one entry of its first part replaced."""
    first, *others = data["parts"]
    return {**data, "parts": [{**first, key: value}, *others]}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("kind", "valve", r"parts\[0\].kind: expected one of circuit, recurrent"),
        ("netlist", "a text", r"parts\[0\].netlist: expected a list of texts"),
        ("netlist", ["title", "R1 in"], "expected the second node of the resistor"),
        ("oversample", 3, "oversample 3 is not one of"),
        ("scheme", "guess", r"parts\[0\].scheme: expected one of"),
        ("learn", ["R9"], "R9 cannot be learned"),
        ("sample_rate", "fast", r"parts\[0\].sample_rate: expected a number"),
    ],
)
def test_a_strangers_chain_is_read_with_care(key: str, value: object, message: str) -> None:
    data = describe(Chain(circuit(), lstm()))
    same = read_description(Document("file", "", data, ""), ("tone",))
    assert describe(same) == data
    with pytest.raises(CircuitnnError, match=message):
        read_description(Document("file", "", damaged(data, key, value), ""), ("tone",))
    for parts, knobs in (([], ()), (data["parts"], ("drive",)), (data["parts"] * 11, ("tone",))):
        with pytest.raises(CircuitnnError, match="parts: expected"):
            read_description(Document("file", "", {"kind": "chain", "parts": parts}, ""), knobs)
