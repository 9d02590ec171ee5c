"""Finite impulse responses in causal chunks, compiled where a C++ compiler can be had, else by torch."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import torch
from torch import Tensor

from circuitnn.errors import CompilerError
from circuitnn.runtime.compiler import compile_library

# `together` of filters.hpp.
TOGETHER = 8
_SOURCE = """#include "filters.hpp"
extern "C" void circuitnn_function(int64_t count, int64_t channels, int64_t stride, int64_t phases, int64_t length,
                                   const double* taps, const double* in, double* out) {
    circuitnn::filter(count, channels, stride, phases, length, taps, in, out);
}
"""


@cache
def _compiled() -> Any:
    try:
        function = compile_library(_SOURCE, wide=True).circuitnn_function
    except CompilerError:
        return None
    function.restype = None
    return function


def convolve(responses: Tensor, signal: Tensor, stride: int = 1) -> Tensor:
    """Every `stride`-th sample of a signal [batch, time, channels] filtered by each of some impulse responses [phases,
    length]: [batch, count * phases, channels], the first one being made of samples 0 to length - 1."""
    (phases, length), (batch, time, channels) = responses.shape, signal.shape
    count = max(0, (time - length) // stride + 1)
    taps = responses.flip(1)
    if (function := _compiled()) is None:
        lanes = signal.movedim(1, 2).reshape(batch * channels, 1, time)
        made = torch.conv1d(lanes, taps[:, None], stride=stride) if count else lanes.new_empty(len(lanes), phases, 0)
        return made.movedim(1, 2).reshape(batch, channels, count * phases).movedim(1, 2)
    margin = (TOGETHER - 1) * stride
    taps = torch.nn.functional.pad(taps, (margin, margin)).contiguous()
    signal, made = signal.contiguous(), signal.new_empty(batch, count * phases, channels)
    for own, out in zip(signal, made, strict=True):
        sizes = (ctypes.c_int64(size) for size in (count, channels, stride, phases, length))
        function(*sizes, *(ctypes.c_void_p(tensor.data_ptr()) for tensor in (taps, own, out)))
    return made


def convolve_adjoint(responses: Tensor, bar: Tensor, stride: int, time: int) -> Tensor:
    """The transpose of `convolve`: from gradients [batch, count * phases, channels] to those by its signal [batch,
    time, channels]. Of stride and phases one is 1."""
    phases, length = responses.shape
    # The transpose of filtering into several phases is to filter and keep one sample in as many; that of keeping one in
    # `stride` is to filter into so many phases.
    if phases > 1:
        response, step = responses.T.flatten().flip(0)[None], phases
    else:
        whole = torch.nn.functional.pad(responses[0].flip(0), (0, -length % stride))
        response, step = whole.unflatten(0, (-1, stride)).T, 1
    before = (len(response[0]) // step - 1) * step
    after = -(-time // len(response)) * step + len(response[0]) - step - before - bar.shape[1]
    bar = torch.nn.functional.pad(bar, (0, 0, before, max(after, 0)))
    return convolve(response, bar, step)[:, :time]


def filtered(responses: Tensor, signal: Tensor, history: Tensor, stride: int = 1) -> tuple[Tensor, Tensor]:
    """A chunk [batch, time, channels] of a signal, filtered as by `convolve`, from the samples before it [batch, past,
    channels]; and those before the next chunk. past: from length - stride to length - 1, so that a chunk of `stride`
    samples gives one."""
    extended = torch.cat([history, signal], 1)
    # A copy: a view would keep all of the chunk.
    return convolve(responses, extended, stride), extended[:, signal.shape[1] :].clone()


def filtered_adjoint(responses: Tensor, bar: Tensor, history_bar: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """The transpose of `filtered`: from the gradients by its two results to those by signal and history."""
    history, phases = history_bar.shape[1], len(responses)
    time = bar.shape[1] // phases * stride
    extended = convolve_adjoint(responses, bar, stride, history + time)
    extended[:, time:] += history_bar
    return extended[:, history:], extended[:, :history]
