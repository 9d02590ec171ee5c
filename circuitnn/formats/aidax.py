"""Models of AIDA-X: RTNeural's layers with a direct path, gains, and a self-test (AIDA DSP, github.com/AidaDSP)."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import torch
from torch import nn

from circuitnn.documents import Document
from circuitnn.errors import CircuitnnError
from circuitnn.formats.rtneural import chain_data, chain_of, read_chain, sample_rate
from circuitnn.formats.saved_network import SavedNetwork, refused
from circuitnn.models.layer_chain import LayerChain
from circuitnn.models.recurrent import Recurrent

# What a file has beside RTNeural's keys.
KEYS = ("in_skip", "in_gain", "out_gain", "metadata", "input_batch")
# Sizes that the hosts have compiled in.
HIDDEN = (8, 12, 16, 20, 24, 32, 40, 64, 80)
HOLDS = (
    f"one lstm or gru layer of {', '.join(map(str, HIDDEN))} units and a dense one that begin with zeros, without "
    "knobs, such as lstm-32 or gru-32"
)
TEST_SAMPLES = 2048
# How far a file's own test may be missed, relative to its largest sample. Hosts ask for less.
TEST_TOLERANCE = 1e-3
MAX_TEST_SAMPLES = 1_000_000


def read_aidax(data: Document) -> SavedNetwork:
    """The network of a file, with its gains. Raises CircuitnnError, also for one that fails its own test."""
    skip = data.count("in_skip", 1, least=0) if data.has("in_skip") else 0
    before, after = (_amplitude(data, key) for key in ("in_gain", "out_gain"))
    chain = read_chain(data, skip * before, after)
    _scale_input(chain, before)
    meta = data.inner("metadata") if data.has("metadata") else Document(data.path, "metadata.", {}, data.hint)
    _check(chain, data)
    return SavedNetwork(_plain(chain), "AIDA-X", sample_rate(meta) or sample_rate(data), esr=_number(meta, "esr"))


def _amplitude(data: Document, key: str) -> float:
    """A gain in dB as a factor."""
    decibel = data.number(key) if data.has(key) else 0.0
    if abs(decibel) > 200.0:
        raise data.wrong(key, "a gain between -200 and 200 dB")
    return math.pow(10.0, decibel / 20.0)


def _number(data: Document, key: str) -> float | None:
    """A number that some write as text."""
    try:
        value = float(data.value.get(key, math.nan))
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _scale_input(chain: LayerChain, gain: float) -> None:
    """Put a gain of the sound into the weights that see it."""
    first = chain.layers[0]
    if gain == 1.0:
        return
    if not isinstance(first, nn.LSTM | nn.GRU | nn.Linear):
        raise CircuitnnError("in_gain before a layer that is not lstm, gru or dense is not known here")
    with torch.no_grad():
        weights = first.weight if isinstance(first, nn.Linear) else first.all_weights[0][0]
        weights[:, 0] *= gain


def _plain(chain: LayerChain) -> LayerChain | Recurrent:
    """The same as the network that such a file is usually trained as, if it is one."""
    kinds = [layer.kind for layer in chain.kinds]
    if kinds not in (["lstm", "dense"], ["gru", "dense"]) or chain.gain != 1.0 or chain.residual not in (0.0, 1.0):
        return chain
    layer, dense = chain.layers
    last = chain.kinds[1]
    if last.activation or not last.bias or not isinstance(layer, nn.LSTM | nn.GRU):
        return chain
    network = Recurrent(
        "lstm" if kinds[0] == "lstm" else "gru", layer.hidden_size, bool(chain.residual), chain.knob_names
    )
    network.recurrent.load_state_dict(layer.state_dict())
    network.dense.load_state_dict(dense.state_dict())
    return network.eval()


def _check(chain: LayerChain, data: Document) -> None:
    """Raise CircuitnnError if the file's own test fails: knobs at 0, from a state of zeros."""
    if not (data.has("input_batch") and data.has("output_batch")):
        return
    dry, wet = data.row("input_batch"), data.row("output_batch")
    if len(dry) != len(wet) or not 1 <= len(dry) <= MAX_TEST_SAMPLES:
        raise data.error("output_batch", f"expected {len(dry)} numbers, as many as input_batch, found {len(wet)}")
    with torch.no_grad():
        y, _ = chain(torch.tensor(dry)[None, :, None], knobs=dict.fromkeys(chain.knob_names, 0.0))
    error = float((y[0, :, 0] - torch.tensor(wet)).abs().max())
    if not error <= TEST_TOLERANCE * max(1e-3, *map(abs, wet)):
        raise data.error("output_batch", f"the network misses the file's own test by {error:.2g}")


def write_aidax(saved: SavedNetwork) -> str:
    """A file's text. Raises CircuitnnError for a network that such a file cannot hold."""
    chain = chain_of(saved, "an AIDA-X model", HOLDS)
    why = _unfit(chain)
    if why is not None:
        raise refused(saved, "an AIDA-X model", why, HOLDS)
    dry = np.random.default_rng(0).uniform(-0.5, 0.5, TEST_SAMPLES).astype(np.float32)
    with torch.no_grad():
        wet = chain(torch.tensor(dry)[None, :, None])[0][0, :, 0]
    rate = {} if saved.sample_rate is None else {"samplerate": f"{saved.sample_rate:g}"}
    esr = {} if saved.esr is None else {"esr": saved.esr}
    document: dict[str, Any] = {
        **chain_data(chain),
        "in_skip": int(chain.residual),
        "out_gain": 20.0 * math.log10(chain.gain),
        "metadata": {"name": saved.name, **rate, "source": "circuitnn", **esr},
        "input_batch": dry.tolist(),
        "output_batch": wet.tolist(),
    }
    return json.dumps(document) + "\n"


def _unfit(chain: LayerChain) -> str | None:
    """Why hosts would not load a chain, or None."""
    kinds = [layer.kind for layer in chain.kinds]
    if kinds not in (["lstm", "dense"], ["gru", "dense"]) or chain.kinds[1].activation or not chain.kinds[1].bias:
        return f"its layers are {', '.join(kinds)}"
    if chain.knob_names:
        return f"it has knobs ({', '.join(chain.knob_names)})"
    if chain.kinds[0].size not in HIDDEN:
        return f"its layer has {chain.kinds[0].size} units"
    if chain.residual not in (0.0, 1.0) or chain.gain <= 0.0:
        return "its direct path or its gain is none that a file can say"
    return None
