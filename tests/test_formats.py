"""Files of networks: other engines' own models and outputs, round trips, refusals, and files that are damaged."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from network_files import NETWORKS, RATE, chain, container, output, random, saved, sound, written
from torch import nn

from circuitnn import CircuitnnError, export, read_model
from circuitnn.documents import read_json
from circuitnn.formats import WRITERS, SavedNetwork, network_at, read_network
from circuitnn.formats.loudness import LEVEL, loudness
from circuitnn.formats.torch_layers import read_layers
from circuitnn.models.a2_wavenet import A2WaveNet
from circuitnn.models.architectures import ARCHITECTURES, build_network
from circuitnn.models.layer_chain import Layer, LayerChain
from circuitnn.models.nam_wavenet import NamWaveNet
from circuitnn.models.recurrent import Recurrent

FIXTURES = Path(os.environ.get("CIRCUITNN_FIXTURES", Path(__file__).parents[2] / "shared" / "fixtures"))
SUFFIX = {"json": ".json", "nam": ".nam", "aidax": ".aidax", "rtneural": ".json", "simplernn": ".json"}
SMALL = [name for name in ARCHITECTURES if not name.endswith(("64", "96", "150", "64-plain", "96-plain"))]
# The engines' input is silent for a second; a network that begins as after silence may begin here.
FROM, TO = 47_900, 58_000

pytestmark = pytest.mark.usefixtures("one_thread")
fixtures = pytest.mark.skipif(not FIXTURES.is_dir(), reason="no fixtures of other engines ($CIRCUITNN_FIXTURES)")


@fixtures
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("wavenet", NamWaveNet), ("wavenet_a1_standard", NamWaveNet), ("lstm", Recurrent), ("A2", A2WaveNet),
        ("slimmable_container", A2WaveNet), ("wavenet_a2_max", A2WaveNet),
    ],
)  # fmt: skip
def test_nam_files_sound_as_in_the_engine_that_owns_them(name: str, kind: type[nn.Module], tmp_path: Path) -> None:
    """NeuralAmpModelerCore 0.5.5, for the file as it is and as it is written here."""
    played = np.load(FIXTURES / "nam" / "input_96000.npy")
    assert not played[:FROM].any()
    u = torch.as_tensor(played[FROM:TO]).reshape(1, -1, 1)
    expected = np.load(FIXTURES / "nam" / f"{name}.nam.core_out.npy")[FROM:TO]
    first = read_network(FIXTURES / "nam" / f"{name}.nam")
    assert isinstance(first.network, kind)
    y = output(first.network, u)
    assert np.abs(y.numpy() - expected).max() < 2e-5 * np.abs(expected).max()
    export(first, "nam", tmp_path / "again.nam")
    again = read_network(tmp_path / "again.nam")
    assert torch.equal(output(again.network, u), y)
    assert again.sample_rate == 48000.0


@fixtures
@pytest.mark.parametrize(
    "name", ["dense", "conv", "gru", "gru_1d", "lstm", "lstm_1d", "gru_torch", "lstm_torch"]
)  # fmt: skip
def test_rtneural_files_sound_as_in_the_engine_that_owns_them(name: str, tmp_path: Path) -> None:
    folder = FIXTURES / "rtneural"
    x, expected = (np.loadtxt(folder / f"{name}_{part}_python.csv") for part in ("x", "y"))
    u = torch.tensor(x, dtype=torch.float32).reshape(1, -1, 1)
    network = read_network(folder / f"{name}.json").network
    np.testing.assert_allclose(output(network, u), expected, rtol=0.0, atol=1e-6)
    export(network, "rtneural", tmp_path / "again.json")
    again = read_network(tmp_path / "again.json").network
    np.testing.assert_allclose(output(again, u), expected, rtol=0.0, atol=1e-6)


@fixtures
def test_a_layer_that_is_no_model_of_sound_is_read_but_refused_as_one() -> None:
    path = FIXTURES / "rtneural" / "conv1d_torch.json"
    x, expected = (np.loadtxt(str(path.with_suffix("")) + f"_{part}_python.csv", delimiter=",") for part in ("x", "y"))
    (layer,), (weights,), inputs = read_layers(read_json(path, 10**6, "file", ""))
    assert (layer.kind, inputs) == ("conv1d", 1)
    y = nn.functional.conv1d(torch.tensor(x, dtype=torch.float32)[None], *weights)
    np.testing.assert_allclose(y, expected, rtol=0.0, atol=1e-6)
    with pytest.raises(CircuitnnError, match="the last layer makes 12 channels, expected 1"):
        read_network(path)


@fixtures
def test_a_file_whose_weights_are_not_its_shape_is_refused() -> None:
    message = r"bad_lstm.json: layers\[0\].weights\[0\]: expected 1 x 64 numbers, found a list of 80 where 64 should be"
    with pytest.raises(CircuitnnError, match=message):
        read_network(FIXTURES / "rtneural" / "bad_lstm.json")


@pytest.mark.parametrize("name", [*NETWORKS, *SMALL])
def test_a_model_file_is_read_as_it_was_written(name: str, tmp_path: Path) -> None:
    knobs = () if name in NETWORKS else ("drive", "tone")
    network = NETWORKS[name]() if name in NETWORKS else build_network(name, knobs)
    if name in ("stn", "two-lstms"):
        network.double()
    first = SavedNetwork(random(network), name, RATE, delay=3.5, esr=0.01, input_level=5.0)
    export(first, "json", tmp_path / "model.json")
    again = read_network(tmp_path / "model.json")
    positions = dict.fromkeys(network.knob_names, 0.3)
    u = sound(100)
    assert torch.equal(output(again.network, u, **positions), output(network, u, **positions))
    assert (again.name, again.sample_rate, again.delay, again.esr) == (name, RATE, 3.5, 0.01)
    assert (again.input_level, again.output_gain) == (5.0, None)
    # The number of files depends on the number of weights alone.
    count = sum(value.numel() for value in network.state_dict().values())
    assert (tmp_path / "model.safetensors").exists() == (count > 1000)
    assert type(read_model(tmp_path / "model.json")) is type(network)


# What each format can hold, exactly or, where it has one bias for two, to rounding.
WRITTEN = [
    ("nam", "wavenet", 0.0), ("nam", "a2", 0.0), ("nam", "linear", 0.0), ("nam", "lstm", 1e-6),
    ("nam", "two-lstms", 1e-6), ("aidax", "lstm", 1e-6), ("aidax", "gru", 0.0), ("rtneural", "chain", 1e-6),
    ("rtneural", "linear", 0.0), ("rtneural", "lstm", 1e-6), ("simplernn", "lstm", 0.0), ("simplernn", "gru", 0.0),
    ("simplernn", "gru-with-knobs", 0.0),
]  # fmt: skip


@pytest.mark.parametrize(("form", "name", "tolerance"), WRITTEN)
def test_what_is_written_is_read(form: str, name: str, tolerance: float, tmp_path: Path) -> None:
    first, path = saved(name), tmp_path / f"file{SUFFIX[form]}"
    export(first, form, path)
    again = read_network(path)
    u, positions = sound(), dict.fromkeys(first.network.knob_names, 0.3)
    expected = output(first.network, u, **positions)
    assert expected.std() > 1e-4
    torch.testing.assert_close(output(again.network, u, **positions), expected, rtol=0.0, atol=tolerance)
    assert again.sample_rate == (RATE if form != "simplernn" else None)
    # In chunks as in one piece.
    with torch.no_grad():
        y, state = again.network(u[:, :100], knobs=positions)
        z, _ = again.network(u[:, 100:], state, positions)
    torch.testing.assert_close(torch.cat([y, z], 1)[0, :, 0], expected, rtol=0.0, atol=max(tolerance, 1e-5))


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_rtneural_can_hold_gates_in_keras_order(name: str, tmp_path: Path) -> None:
    """The cells' equations as Keras documents them, in numpy, from the file's own numbers."""
    network = random(Recurrent("lstm" if name == "lstm" else "gru", 3, residual=False))
    export(network, "rtneural", tmp_path / "file.json")
    layer, dense = json.loads((tmp_path / "file.json").read_text())["layers"]
    kernel, recurrent, bias = (np.array(array) for array in layer["weights"])

    def sigmoid(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return 1.0 / (1.0 + np.exp(-x))

    u, h, c, y = sound(50)[0, :, 0].numpy(), np.zeros(3), np.zeros(3), []
    for sample in u:
        if name == "lstm":
            i, f, g, o = np.split(sample * kernel[0] + h @ recurrent + bias, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        else:
            given, kept = sample * kernel[0] + bias[0], h @ recurrent + bias[1]
            (z1, r1, g1), (z2, r2, g2) = np.split(given, 3), np.split(kept, 3)
            z, r = sigmoid(z1 + z2), sigmoid(r1 + r2)
            h = z * h + (1.0 - z) * np.tanh(g1 + r * g2)
        y.append(h @ np.array(dense["weights"][0])[:, 0] + dense["weights"][1][0])
    np.testing.assert_allclose(output(network, sound(50)), y, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize(
    ("form", "network", "message"),
    [
        ("nam", lambda: build_network("lstm-32"), "it adds its input to its output"),
        ("nam", lambda: build_network("gru-32-plain"), "it has GRUs"),
        ("nam", lambda: build_network("nam-nano", ["drive"]), r"it has knobs \(drive\)"),
        ("nam", lambda: build_network("tcn-100"), "TemporalConvolutionalNetwork has other layers"),
        ("nam", chain, "LayerChain has other layers"),
        ("aidax", lambda: build_network("lstm-96"), "its layer has 96 units"),
        ("aidax", lambda: build_network("lstm-32", ["drive"]), r"it has knobs \(drive\)"),
        ("aidax", lambda: Recurrent("lstm", 8, layers=2), "its layers are lstm, lstm, dense"),
        ("aidax", lambda: NETWORKS["two-lstms"](), "it begins with a state of its own"),
        ("rtneural", lambda: build_network("lstm-32"), "it adds its input to its output"),
        ("rtneural", lambda: chain(gain=2.0), "it scales its output"),
        ("rtneural", lambda: build_network("nam-nano"), "NamWaveNet is no chain of such layers"),
        ("simplernn", lambda: build_network("wavenet-1"), "WaveNet has other layers"),
    ],
)
def test_what_a_format_cannot_hold_is_said(form: str, network: Callable[[], Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(CircuitnnError, match=message) as caught:
        export(network(), form, tmp_path / "file")
    assert "holds" in str(caught.value.hint)
    assert not (tmp_path / "file").exists()


def test_a_nam_file_says_its_levels(tmp_path: Path) -> None:
    """0 dBu is sqrt(0.6) V rms, and a sine of 5 V has 5 / sqrt(2) V rms; with 0.25 per volt, full scale is 4 V."""
    export(saved("lstm"), "nam", tmp_path / "file.nam")
    meta = json.loads((tmp_path / "file.nam").read_text())["metadata"]
    assert meta["input_level_dbu"] == pytest.approx(20.0 * math.log10(5.0 / math.sqrt(2.0) / math.sqrt(0.6)))
    assert meta["output_level_dbu"] == pytest.approx(20.0 * math.log10(4.0 / math.sqrt(2.0) / math.sqrt(0.6)))
    assert meta["training"]["validation_esr"] == 0.01
    assert set(meta["date"]) == {"year", "month", "day", "hour", "minute", "second"}
    again = read_network(tmp_path / "file.nam")
    assert again.input_level == pytest.approx(5.0)
    assert again.output_gain == pytest.approx(0.25)
    assert again.esr == 0.01


def test_loudness_is_that_of_the_standard_noise_behind_the_network() -> None:
    half = LayerChain([Layer("conv1d", 1, bias=False)])
    with torch.no_grad():
        half.layers[0].weight.fill_(0.5)  # type: ignore[union-attr, operator]
    for rate in (44100.0, 48000.0):
        assert loudness(half, rate) == pytest.approx(LEVEL + 20.0 * math.log10(0.5), abs=1e-4)
    with torch.no_grad():
        half.layers[0].weight.zero_()  # type: ignore[union-attr, operator]
    assert loudness(half, 44100.0) is None


def test_a_linear_nam_file_is_its_impulse_response(tmp_path: Path) -> None:
    response = [0.5, -0.25, 0.125]
    file = {"version": "0.5.4", "architecture": "Linear", "config": {"receptive_field": 3, "bias": True}}
    network = read_network(written({**file, "weights": [*response, 0.01]}, tmp_path / "file.nam")).network
    impulse = torch.zeros(1, 5, 1)
    impulse[0, 0] = 1.0
    expected = torch.tensor([*response, 0.0, 0.0]) + 0.01
    torch.testing.assert_close(output(network, impulse), expected)


def test_a_container_is_its_largest_model(tmp_path: Path) -> None:
    files = []
    for name in ("wavenet", "lstm"):
        export(saved(name), "nam", tmp_path / "one.nam")
        files.append(json.loads((tmp_path / "one.nam").read_text()))
    whole = container(*files) | {"metadata": {"input_level_dbu": 0.0}}
    found = read_network(written(whole, tmp_path / "file.nam"))
    assert found.name == "NAM LSTM"
    assert found.input_level == pytest.approx(math.sqrt(1.2))
    nested = container(container(container(*files)))
    with pytest.raises(CircuitnnError, match="containers inside each other"):
        read_network(written(nested, tmp_path / "deep.nam"))


@pytest.mark.parametrize("skip", [0, 1])
def test_an_aidax_file_has_gains_and_a_direct_path(skip: int, tmp_path: Path) -> None:
    """y = out_gain (network(in_gain u) + in_gain u), as its plugin has it."""
    plain = random(Recurrent("gru", 8, residual=False))
    export(plain, "aidax", tmp_path / "plain.aidax")
    file = json.loads((tmp_path / "plain.aidax").read_text())
    assert file["in_skip"] == 0
    assert len(file["input_batch"]) == len(file["output_batch"]) == 2048
    u = sound()
    expected = 10.0 ** (6.0 / 20.0) * (output(plain, 0.5 * u) + skip * 0.5 * u[0, :, 0])
    changed = file | {"in_skip": skip, "in_gain": 20.0 * math.log10(0.5), "out_gain": 6.0}
    del changed["output_batch"]
    changed["metadata"] |= {"samplerate": "44100", "esr": "0.02"}
    found = read_network(written(changed, tmp_path / "file.aidax"))
    torch.testing.assert_close(output(found.network, u), expected, rtol=0.0, atol=1e-6)
    assert (found.sample_rate, found.esr) == (44100.0, 0.02)
    # And again to a file, with the gains in it.
    if not skip:
        export(found, "aidax", tmp_path / "again.aidax")
        again = read_network(tmp_path / "again.aidax").network
        torch.testing.assert_close(output(again, u), expected, rtol=0.0, atol=1e-6)


def test_an_aidax_file_that_fails_its_own_test_is_refused(tmp_path: Path) -> None:
    export(saved("gru"), "aidax", tmp_path / "file.aidax")
    file = json.loads((tmp_path / "file.aidax").read_text())
    file["layers"][0]["weights"][0][0][0] += 0.1
    with pytest.raises(CircuitnnError, match="misses the file's own test by"):
        read_network(written(file, tmp_path / "file.aidax"))


def test_a_simple_rnn_without_biases(tmp_path: Path) -> None:
    export(saved("gru"), "simplernn", tmp_path / "file.json")
    file = json.loads((tmp_path / "file.json").read_text())
    file["model_data"]["bias_fl"] = False
    for name in ("rec.bias_ih_l0", "rec.bias_hh_l0"):
        del file["state_dict"][name]
    network = read_network(written(file, tmp_path / "file.json")).network
    assert isinstance(network, Recurrent)
    assert not network.recurrent.bias_ih_l0.any()


# Of an LSTM of 8: 4 * 8 * (1 + 8) weights, 4 * 8 biases, 8 + 8 to begin with, and 8 + 1 of the dense layer.
@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("lstm", {"version": "0.8.0"}, r"version: expected 0.5 to 0.7, which are those known here, found \"0.8.0\""),
        ("lstm", {"version": "new"}, "version: expected a version such as 0.5.4"),
        ("lstm", {"architecture": "ConvNet"}, "architecture: expected one of WaveNet, LSTM, Linear"),
        ("lstm", {"weights": [0.5]}, "weights: expected 345 numbers for this network, found 1"),
        ("lstm", {"weights": [1e300] * 345}, "weights: expected numbers of single precision"),
        ("lstm", {"weights": "many"}, "weights: expected a list of numbers"),
        ("lstm", {"sample_rate": -1}, "sample_rate: expected a rate in Hz"),
        ("lstm", {"config": {"input_size": 1, "hidden_size": 10**9, "num_layers": 1}}, "hidden_size: expected an int"),
        ("lstm", {"config": {"input_size": 1, "hidden_size": 1000, "num_layers": 1000}}, "is more than the limit"),
        ("lstm", {"metadata": {"input_level_dbu": "hot"}}, "metadata.input_level_dbu: expected a number"),
    ],
)
def test_errors_name_the_file_the_key_and_what_was_expected(
    name: str, change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    export(saved(name), "nam", tmp_path / "file.nam")
    file = json.loads((tmp_path / "file.nam").read_text()) | change
    with pytest.raises(CircuitnnError, match=message) as caught:
        read_network(written(file, tmp_path / "file.nam"))
    assert str(tmp_path / "file.nam") in caught.value.message


def test_layers_that_do_not_fit_are_named(tmp_path: Path) -> None:
    export(saved("a2"), "nam", tmp_path / "file.nam")
    file = json.loads((tmp_path / "file.nam").read_text())

    def refused(**change: object) -> str:
        changed = json.loads(json.dumps(file))
        changed["config"]["layers"][0] |= change
        with pytest.raises(CircuitnnError) as caught:
            read_network(written(changed, tmp_path / "file.nam"))
        return caught.value.message

    assert "layers[0].condition_size: expected 3, the channels of the condition, found 2" in refused(condition_size=2)
    assert "layers[0].gating_mode[1]: expected one of none, gated, blended" in refused(gating_mode=["gated", "open"])
    assert "layers[0].activation.type: expected one of Tanh" in refused(activation={"type": "Cosine"})
    assert "cannot have 3 groups" in refused(groups_input=3)
    assert "modulates layer1x1, which is not active" in refused(layer1x1={"active": False, "groups": 1}, bottleneck=4)
    assert "kernel_sizes: expected 2 of them" in refused(kernel_sizes=[1, 2, 3])
    assert "samples of memory is more than the limit" in refused(dilations=[2**20, 2**20], kernel_sizes=[4, 4])


def test_other_files_are_told_apart(tmp_path: Path) -> None:
    circuit = "rc\n*@ input Vin\n*@ output out\nVin in 0 0\nR1 in out 1k\nC1 out 0 47n\n"
    (tmp_path / "rc.cir").write_text(circuit)
    export(tmp_path / "rc.cir", "json", tmp_path / "rc.json")
    assert network_at(tmp_path / "rc.cir") is None
    assert network_at(tmp_path / "rc.json") is None
    assert network_at(tmp_path) is None
    with pytest.raises(CircuitnnError, match="holds no network"):
        read_network(tmp_path / "rc.json")
    assert type(read_model(tmp_path / "rc.json")).__name__ == "CircuitModel"
    with pytest.raises(CircuitnnError, match="a circuit cannot be written as nam, which holds networks"):
        export(tmp_path / "rc.json", "nam", tmp_path / "rc.nam")
    with pytest.raises(CircuitnnError, match="a network has no netlist"):
        export(saved("lstm"), "spice", tmp_path / "lstm.cir")
    with pytest.raises(CircuitnnError, match="not a file of a network that is known here"):
        read_network(written({"hello": "world"}, tmp_path / "file.json"))
    with pytest.raises(CircuitnnError, match="cannot be read"):
        read_network(tmp_path / "missing.nam")


@pytest.mark.parametrize("depth", [*range(700, 1000, 20), 100_000])
def test_lists_in_lists_without_end_are_refused(depth: int, tmp_path: Path) -> None:
    """Deeper than Python reads, and just less deep than that."""
    lists = "[" * depth + "]" * depth
    for text in (f'{{"architecture": "LSTM", "version": {lists}}}', f'{{"layers": {lists}, "in_shape": [1]}}', lists):
        (tmp_path / "file.json").write_text(text)
        with pytest.raises(CircuitnnError, match=r"file\.json: "):
            read_network(tmp_path / "file.json")


def test_chains_in_chains_without_end_are_refused(tmp_path: Path) -> None:
    export(saved("chain-of-networks"), "json", tmp_path / "file.json")
    file = json.loads((tmp_path / "file.json").read_text())
    for _ in range(100):
        file["network"] = {"kind": "chain", "knobs": [], "parts": [file["network"]]}
    with pytest.raises(CircuitnnError, match="more than 3 chains inside each other"):
        read_network(written(file, tmp_path / "file.json"))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """All entries of a document, of long lists the first few."""
    found = [path] if path else []
    if isinstance(value, dict):
        found += [place for key in value for place in places(value[key], (*path, key))]
    elif isinstance(value, list):
        found += [place for k in range(min(len(value), 3)) for place in places(value[k], (*path, k))]
    return found


JUNK: tuple[Any, ...] = (
    None, True, -1, 0, 1, 7, 2**31, 10**30, 1e308, 0.5, "", "x", [], {}, [[]], [None], [1] * 5000, [[1.0] * 8] * 8,
    {"type": "Tanh"}, [[[1.0]]], {"active": True},
)  # fmt: skip
FORMS = [("json", name) for name in NETWORKS] + [(form, name) for form, name, _ in WRITTEN]


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> dict[tuple[str, str], Any]:
    folder = tmp_path_factory.mktemp("whole")
    found = {}
    for form, name in FORMS:
        WRITERS[form](saved(name), folder / "file.json")
        found[form, name] = json.loads((folder / "file.json").read_text())
    found["nam", "container"] = container(found["nam", "wavenet"], found["nam", "lstm"])
    return found


@settings(max_examples=300)
@given(data=st.data())
def test_damaged_files_are_refused_in_words(
    documents: dict[tuple[str, str], Any], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One or two entries replaced or left out: a network, or an error that names the file, and nothing else."""
    which = data.draw(st.sampled_from(sorted(documents)))
    changed = json.loads(json.dumps(documents[which]))
    for _ in range(data.draw(st.integers(1, 2))):
        *path, last = data.draw(st.sampled_from(places(changed)))
        parent = changed
        for key in path:
            parent = parent[key]
        if data.draw(st.booleans()):
            parent[last] = deepcopy(data.draw(st.sampled_from(JUNK)))
        else:
            del parent[last]
    file = written(changed, tmp_path_factory.getbasetemp() / "damaged.json")
    try:
        found: object = network_at(file)
    except CircuitnnError as error:
        found = error.message
    assert "damaged.json" in found if isinstance(found, str) else found is None or isinstance(found, SavedNetwork)


@pytest.mark.parametrize("name", ["wavenet", "small-a2", "lstm", "two-lstms"])
def test_the_published_trainer_reads_what_is_written(name: str, tmp_path: Path) -> None:
    """neural-amp-modeler, where it is installed: its own networks from these files give the same output."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = pytest.importorskip("nam.models._from_nam", reason="neural-amp-modeler is not installed")
        first = saved(name)
        export(first, "nam", tmp_path / "file.nam")
        data = json.loads((tmp_path / "file.nam").read_text())
        model = theirs.init_from_nam(data).eval()
        u = torch.cat([torch.zeros(1, 2000, 1), sound(1000)], 1)
        with torch.no_grad():
            y = model(u[0, :, 0], pad_start=True)
    torch.testing.assert_close(output(first.network, u)[2000:], y[2000:], rtol=0.0, atol=2e-6)
