"""Compiled LSTM and GRU layers: torch's own layers and their gradients are the oracle."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from circuitnn.errors import CompilerError
from circuitnn.gated import PIECE, Cell, GatedLayer, gated_layer
from circuitnn.models.recurrent import MEMORY, SOUNDS, WORTH_COMPILING, Recurrent

pytestmark = pytest.mark.usefixtures("one_thread")


def of_torch(layer: nn.LSTM | nn.GRU, u: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """h [batch, time, size], and the state after it, h and c side by side."""
    parts = tuple(part[None].contiguous() for part in x.split(layer.hidden_size, 1))
    h, after = layer(u, parts if isinstance(layer, nn.LSTM) else parts[0])
    return h, torch.cat([part[0] for part in (after if isinstance(layer, nn.LSTM) else (after,))], 1)


# Sizes below, at and above a tile of rows, lanes that are full and not, and times around a stretch of the gradient.
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize(("inputs", "size", "batch", "time"), [(1, 3, 1, 1), (2, 8, 8, 32), (5, 9, 11, 70)])
def test_outputs_and_all_gradients_are_torch_s(cell: Cell, inputs: int, size: int, batch: int, time: int) -> None:
    torch.manual_seed(size)
    reference = (nn.LSTM if cell == "lstm" else nn.GRU)(inputs, size, batch_first=True).double()
    weights = list(reference.parameters())
    layer = gated_layer(cell, inputs, size, torch.float64)
    assert layer is not None
    u = torch.randn(batch, time, inputs, dtype=torch.float64, requires_grad=True)
    x = torch.randn(batch, layer.states, dtype=torch.float64, requires_grad=True)
    expected = of_torch(reference, u, x)
    found = layer(u, x, torch.cat([weight.flatten() for weight in weights]))
    bars = [torch.randn_like(part) for part in expected]
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own, other, rtol=0.0, atol=1e-12)
    gradients = (torch.autograd.grad(both, [u, x, *weights], bars) for both in (found, expected))
    for own, other in zip(*gradients, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-12)


@given(level=st.sampled_from([1e-6, 1.0, 100.0, 1e4]), cell=st.sampled_from(["lstm", "gru"]), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_single_precision_holds_from_silence_to_saturation(level: float, cell: Cell, seed: int) -> None:
    torch.manual_seed(seed)
    reference = (nn.LSTM if cell == "lstm" else nn.GRU)(1, 4, batch_first=True)
    layer = gated_layer(cell, 1, 4, torch.float32)
    assert layer is not None
    u = level * torch.randn(3, 20, 1)
    with torch.no_grad():
        found, _ = layer(u, torch.zeros(3, layer.states), torch.cat([w.flatten() for w in reference.parameters()]))
        expected, _ = of_torch(reference.double(), u.double(), torch.zeros(3, layer.states, dtype=torch.float64))
    torch.testing.assert_close(found.double(), expected, rtol=0.0, atol=3e-6)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_without_a_compiler_a_network_computes_the_same(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = Recurrent(cell, 5, layers=2, learned_start=True).double()
    u = torch.randn(SOUNDS, WORTH_COMPILING[cell] // SOUNDS + 1, 1, dtype=torch.float64)
    y, state = network(u)

    def none(*_: object) -> None:
        raise CompilerError("no C++ compiler was found")

    monkeypatch.setattr(GatedLayer, "__init__", none)
    gated_layer.cache_clear()
    with pytest.warns(UserWarning, match="torch's slower layers: no C\\+\\+ compiler"):
        other, after = network(u)
    gated_layer.cache_clear()
    torch.testing.assert_close(other, y, rtol=0.0, atol=1e-12)
    torch.testing.assert_close(after, state, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_what_needs_no_gradients_is_the_same_to_the_last_bit(cell: Cell) -> None:
    """It is computed in pieces."""
    layer = gated_layer(cell, 2, 5, torch.float64)
    assert layer is not None
    u, x = torch.randn(3, 2 * PIECE + 7, 2, dtype=torch.float64), torch.randn(3, layer.states, dtype=torch.float64)
    theta = torch.randn(sum(p.numel() for p in (nn.LSTM if cell == "lstm" else nn.GRU)(2, 5).parameters())).double()
    whole = layer(u, x, theta)
    with torch.no_grad():
        pieces = layer(u, x, theta)
    assert all(torch.equal(own, other) for own, other in zip(pieces, whole, strict=True))


SCRIPT = """
import resource, sys
import numpy as np
from circuitnn.models.architectures import build_network
from circuitnn.rendering import render_network

network, peaks = build_network(sys.argv[1]), []
for seconds in (0.1, 10):
    render_network(network, np.full(round(44100 * seconds), 0.1))
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
print(peaks[1] - peaks[0])
"""


@pytest.mark.parametrize("name", ["lstm-32", "gru-32", "wavenet-1"])
def test_whole_files_are_played_in_little_memory(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, name], capture_output=True, text=True, check=True)
    # MB. It was more than 2000.
    assert float(done.stdout) < 400.0


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_new_units_forget_after_one_to_many_samples(cell: Cell) -> None:
    """In silence, what is in an LSTM's cell (of a GRU: in its output, to which it decays) falls by the factor
    t / (1 + t) a sample."""
    torch.manual_seed(0)
    network = Recurrent(cell, 200).recurrent
    with torch.no_grad():
        for name in ("weight_ih_l0", "weight_hh_l0"):
            getattr(network, name).zero_()
        for name in ("bias_ih_l0", "bias_hh_l0"):
            getattr(network, name)[2 * 200 : 3 * 200] = 0.0
        _, after = of_torch(network, torch.zeros(1, 1, 1), torch.ones(1, 400 if cell == "lstm" else 200))
    kept = after[0, -200:].double()
    memory = kept / (1.0 - kept)
    assert 1.0 <= memory.min() < 2.0
    assert 0.6 * MEMORY < memory.max() <= 1.01 * MEMORY
