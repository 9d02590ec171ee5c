"""What a generated header says of a network: the type that it is in the run-time headers, and its numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from circuitnn.errors import CircuitnnError
from circuitnn.exporting.cpp_text import braced, knob_table, table
from circuitnn.exporting.subject import NetworkSubject
from circuitnn.models.conv_lstm import ConvLstm
from circuitnn.models.iir import Biquad
from circuitnn.models.nam_wavenet import HEAD_SCALE, NamWaveNet
from circuitnn.models.network import Network
from circuitnn.models.recurrent import Recurrent
from circuitnn.models.sequence_lstm import SequenceLstm
from circuitnn.models.state_network import LIMIT, StateNetwork
from circuitnn.models.state_space_gru import StateSpaceGru
from circuitnn.models.state_trajectory_network import StateTrajectoryNetwork
from circuitnn.models.tcn import EMBEDDING, TemporalConvolutionalNetwork
from circuitnn.models.wavenet import WaveNet
from circuitnn.models.wiener_hammerstein import WienerHammerstein
from circuitnn.models.window_mlp import WindowMlp


@dataclass(frozen=True)
class Typed:
    """header: of the run time that has the network's type; type_: that, as a template of Real; weights: its numbers in
    the order in which the type takes them; shapes: structs of constants that the type names, by name."""

    header: str
    type_: str
    weights: Sequence[Tensor | float]
    shapes: Sequence[tuple[str, str]] = ()


def network_struct(subject: NetworkSubject) -> tuple[str, str]:
    """A struct called Network, and the run-time header that it needs beside network.hpp. Raises CircuitnnError for a
    network that has no type there."""
    typed = _typed(subject.network)
    knobs = {name: subject.positions.get(name, 0.5) for name in subject.network.knob_names}
    weights = _numbers(typed.weights)
    lines = [
        "static constexpr int n_u = 1, n_y = 1, oversampling = 1;",
        *knob_table(knobs),
        "\n// That it was trained at. In and out are digital full scale.",
        f"static constexpr double sample_rate = {float(subject.sample_rate)!r};",
        "static constexpr double input_level = 1.0, output_gain = 1.0;\n",
        *(f"struct {name} {{\n    {constants}\n}};" for name, constants in typed.shapes),
        f"template <class Real>\nusing Layers = circuitnn::{typed.type_};\n",
        table(*weights),
    ]
    body = "\n".join(f"    {line}" if line else "" for section in lines for line in section.split("\n"))
    struct = f"""struct Network {{
{body}
}};

// In single precision, at any rate.
using Processor = circuitnn::OwnRate<circuitnn::NetworkProcessor<Network, float>>;
"""
    return struct, typed.header


def _numbers(weights: Sequence[Tensor | float]) -> tuple[str, str, list[str]]:
    """The array of all numbers, in single precision if none of them has more."""
    parts = [torch.as_tensor(part, dtype=torch.float64, device="cpu").detach().reshape(-1).numpy() for part in weights]
    numbers: NDArray[np.float64] = np.concatenate(parts)
    if not np.isfinite(numbers).all():
        raise CircuitnnError("the network holds numbers that are not finite", "train it again")
    single = numbers.astype(np.float32)
    if (single.astype(np.float64) == numbers).all():
        return "float", "weights[]", [f"{number!s}f" for number in single]
    return "double", "weights[]", [repr(float(number)) for number in numbers]


def _typed(network: Network) -> Typed:
    for kind, describe in _TYPES.items():
        if isinstance(network, kind):
            return describe(network)
    raise CircuitnnError(
        f"a {type(network).__name__} has no C++ yet",
        "cpp, lv2 and web hold the networks that `circuitnn train` names, and chains of them and circuits",
    )


def _inputs(network: Network) -> int:
    return 1 + len(network.knob_names)


def _both(layer: nn.Module) -> list[Tensor]:
    """Weight and bias, or a weight alone."""
    assert isinstance(layer, nn.Linear | nn.Conv1d)
    return [layer.weight] if layer.bias is None else [layer.weight, layer.bias]


def _dilated(channels: int, layers: Sequence[nn.Module], *more: str) -> str:
    """Constants of layers of convolutions that differ in their dilations only."""
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv1d)]
    constants = [f"channels = {channels}", f"taps = {convolutions[0].kernel_size[0]}"]
    dilations = braced(str(layer.dilation[0]) for layer in convolutions)
    return f"static constexpr int {', '.join([*constants, *more])}, dilations[] = {dilations};"


def _recurrent(network: Recurrent) -> Typed:
    layer = network.recurrent
    assert isinstance(layer, nn.LSTM | nn.GRU)
    cell = "Lstm" if isinstance(layer, nn.LSTM) else "Gru"
    switches = (str(switch).lower() for switch in (network.residual, network.start is not None))
    arguments = ", ".join(
        [str(_inputs(network)), f"circuitnn::{cell}", str(layer.hidden_size), str(layer.num_layers), *switches]
    )
    weights = [part for k in range(layer.num_layers) for part in _cell(layer, k)]
    start = [] if network.start is None else [network.start]
    return Typed("recurrent.hpp", f"Recurrent<Real, {arguments}>", [*weights, *_both(network.dense), *start])


def _cell(layer: nn.LSTM | nn.GRU, number: int = 0) -> list[Tensor]:
    return [getattr(layer, f"{name}_l{number}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]


def _state_space_gru(network: StateSpaceGru) -> Typed:
    own, dense = network.recurrent, network.dense
    # Output after output, each with its bias.
    rows = [part for k in range(network.n_states) for part in (dense.weight[k], dense.bias[k])]
    straight = [] if network.linear is None else [*_perceptron([network.linear], network), LIMIT]
    readout, more = _readout(network)
    linear = str(network.linear is not None).lower()
    arguments = f"{network.inputs}, {network.n_states}, {own.hidden_size}, {readout}, {linear}"
    weights = [_of_sound(own.weight_ih, network), own.weight_hh, own.bias_ih, own.bias_hh, *rows, *straight, *more]
    return Typed("state_networks.hpp", f"StateSpaceGru<Real, {arguments}>", weights)


def _state_trajectory_network(network: StateTrajectoryNetwork) -> Typed:
    layers = [layer for layer in network.layers.modules() if isinstance(layer, nn.Linear)]
    weights = _perceptron(layers, network)
    if network.linear is not None:
        weights += _perceptron([network.linear], network)
    readout, more = _readout(network)
    arguments = [network.inputs, network.n_states, readout, str(network.linear is not None).lower(), *network.hidden]
    type_ = f"StateTrajectoryNetwork<Real, {', '.join(map(str, arguments))}>"
    return Typed("state_networks.hpp", type_, [*weights, network.step, LIMIT, *more])


def _perceptron(layers: Sequence[nn.Linear], network: StateNetwork) -> list[Tensor | float]:
    """Layers of which the first one sees the sound, each with a bias."""
    weights: list[Tensor | float] = []
    for layer in layers:
        weight = _of_sound(layer.weight, network) if layer is layers[0] else layer.weight
        weights += [weight, torch.zeros(layer.out_features) if layer.bias is None else layer.bias]
    return weights


def _of_sound(weight: Tensor, network: StateNetwork) -> Tensor:
    """The weights of a layer whose first input is the sound: that comes in digital full scale."""
    return torch.cat([weight[:, :1].double() / network.sizes[0].double(), weight[:, 1:].double()], 1)


def _readout(network: StateNetwork) -> tuple[str, list[Tensor | float]]:
    """The type of the output and its numbers: it goes out in digital full scale."""
    size, own = network.sizes[1].double(), network.readout
    sizes = f"Real, {network.inputs}, {network.n_states}"
    if own is None:
        return f"circuitnn::FirstState<{sizes}>", [size]
    straight = [_of_sound(own.linear.weight, network) * size, own.linear.bias.double() * size]
    curve = [*_perceptron([own.hidden], network), own.curve.weight.double() * size, torch.zeros(1)]
    return f"circuitnn::CurvedReadout<{sizes}, {own.hidden.out_features}>", [*straight, *curve]


def _wavenet(network: WaveNet) -> Typed:
    layers = list(zip(network.convolutions, network.residuals, strict=True))
    channels = network.input.out_channels
    output = network.output.weight[0, :, 0].split(channels)
    weights = _both(network.input)
    for (convolution, residual), part in zip(layers, output, strict=True):
        weights += [*_both(convolution), *_both(residual), part]
    assert network.output.bias is not None
    shape = ("Shape", _dilated(channels, list(network.convolutions)))
    type_ = f"WaveNet<Real, {_inputs(network)}, Shape>"
    return Typed("convolutional.hpp", type_, [*weights, network.output.bias], [shape])


def _nam_wavenet(network: NamWaveNet) -> Typed:
    shapes: list[tuple[str, str]] = []
    weights: list[Tensor | float] = []
    stacks: Any = network.stacks
    for k, stack in enumerate(stacks):
        weights += _both(stack.rechannel)
        for layer in zip(stack.convolutions, stack.mixers, stack.residuals, strict=True):
            weights += [part for one in layer for part in _both(one)]
        weights += _both(stack.head)
        more = (f"head = {stack.head.out_channels}", f"head_bias = {int(stack.head.bias is not None)}")
        shapes.append((f"Stack{k + 1}", _dilated(stack.rechannel.out_channels, list(stack.convolutions), *more)))
    type_ = f"NamWaveNet<Real, {_inputs(network)}, {', '.join(name for name, _ in shapes)}>"
    return Typed("convolutional.hpp", type_, [*weights, HEAD_SCALE], shapes)


def _tcn(network: TemporalConvolutionalNetwork) -> Typed:
    weights: list[Tensor | float] = []
    for layer in network.embedding:
        weights += _both(layer) if isinstance(layer, nn.Linear) else []
    blocks: Any = network.blocks
    for block in blocks:
        weights += _normalised(block.convolution, block.normalisation)
        weights += [] if block.film is None else _both(block.film)
        weights += [block.activation.weight, block.residual.weight]
    convolutions = [block.convolution for block in blocks]
    if len(convolutions) < 2:
        raise CircuitnnError("a TCN of one block has no C++ yet", "cpp, lv2 and web hold those of two and more")
    channels = convolutions[0].out_channels
    shapes = [("First", _dilated(1, convolutions[:1])), ("Later", _dilated(channels, convolutions[1:]))]
    type_ = f"Tcn<Real, {_inputs(network)}, First, Later, {', '.join(map(str, EMBEDDING))}>"
    return Typed("convolutional.hpp", type_, [*weights, *_both(network.output)], shapes)


def _normalised(convolution: nn.Conv1d, normalisation: nn.BatchNorm1d) -> list[Tensor]:
    """Weights and biases of the convolution and the normalisation behind it, which is linear once it is trained."""
    mean, variance = normalisation.running_mean, normalisation.running_var
    assert mean is not None
    assert variance is not None
    gain = 1.0 / torch.sqrt(variance.double() + normalisation.eps)
    offset = -mean.double() * gain
    if normalisation.affine:
        gain, offset = gain * normalisation.weight, offset * normalisation.weight + normalisation.bias
    return [convolution.weight * gain[:, None, None], offset]


def _wiener_hammerstein(network: WienerHammerstein) -> Typed:
    weights: list[Tensor | float] = []
    for section in (*network.before, *network.after):
        assert isinstance(section, Biquad)
        b, a = section.coefficients()
        weights += [b, a[1:]]
    for layer in network.curve:
        weights += _both(layer) if isinstance(layer, nn.Linear) else []
    hidden = network.curve[0]
    assert isinstance(hidden, nn.Linear)
    arguments = f"{_inputs(network)}, {len(network.before)}, {hidden.out_features}, {len(network.after)}"
    return Typed("wiener_hammerstein.hpp", f"WienerHammerstein<Real, {arguments}>", weights)


def _window_mlp(network: WindowMlp) -> Typed:
    weights: list[Tensor | float] = [*_both(network.window), *([] if network.knobs is None else _both(network.knobs))]
    for layer in network.dense:
        weights += _both(layer)
    arguments = ", ".join(map(str, (*network.settings()["hidden"], 1)))
    type_ = f"WindowMlp<Real, {_inputs(network)}, Window, {arguments}>"
    return Typed("windowed.hpp", type_, weights, [("Window", _dilated(1, [network.window]))])


def _conv_lstm(network: ConvLstm) -> Typed:
    layer, channels = network.recurrent, network.first.out_channels
    ih, hh, bias_ih, bias_hh = _cell(layer)
    steps = f"static constexpr int channels = {channels}, taps = {network.steps}, dilations[] = {{{network.stride}}};"
    shapes = [
        ("First", _dilated(_inputs(network), [network.first])),
        ("Second", _dilated(channels, [network.second])),
        ("Steps", steps),
    ]
    weights = [*_both(network.first), *_both(network.second), ih, bias_ih, hh, bias_hh, *_both(network.dense)]
    type_ = f"ConvLstm<Real, {_inputs(network)}, First, Second, Steps, {layer.hidden_size}>"
    return Typed("windowed.hpp", type_, weights, shapes)


def _sequence_lstm(network: SequenceLstm) -> Typed:
    layer = network.recurrent
    arguments = f"{_inputs(network)}, {layer.hidden_size}, {network.window}, {network.outputs}"
    return Typed("windowed.hpp", f"SequenceLstm<Real, {arguments}>", [*_cell(layer), *_both(network.dense)])


_TYPES: dict[type[Network], Callable[[Any], Typed]] = {
    Recurrent: _recurrent,
    StateSpaceGru: _state_space_gru,
    StateTrajectoryNetwork: _state_trajectory_network,
    WaveNet: _wavenet,
    NamWaveNet: _nam_wavenet,
    TemporalConvolutionalNetwork: _tcn,
    WienerHammerstein: _wiener_hammerstein,
    WindowMlp: _window_mlp,
    ConvLstm: _conv_lstm,
    SequenceLstm: _sequence_lstm,
}
