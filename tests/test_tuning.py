"""Knobs in the C++ run-time header, against the same knobs in Python."""

from __future__ import annotations

import ctypes
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import sympy
import torch
from circuits import TWO_STAGES, parse
from numpy.typing import NDArray

from circuitnn.circuit import Circuit
from circuitnn.discretise import DiscreteCircuit, Tuning
from circuitnn.errors import CircuitError
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import read_netlist
from circuitnn.runtime import compiler
from circuitnn.simulate import CONTROL_PERIOD

NETLISTS = Path(__file__).parents[1] / "netlists"
RATE = 48000.0

# A knob behind an amplifier whose stage has P unlike 1, with the current of a plain resistor as a free quantity.
KNOBBED = (
    ".param depth=0.4\n"
    + TWO_STAGES.replace("c 2.2k", "c {100 + 10k*depth**2}").replace("0 out 0 10\n", "0 out 0 {5 + 10*depth}\n")
    + "\n*@ knob depth 0.4"
)


def circuit_of(name: str) -> Circuit:
    return parse(KNOBBED) if name == "two stages" else read_netlist(NETLISTS / f"{name}.cir")


@cache
def model_of(name: str) -> CircuitModel:
    return CircuitModel(circuit_of(name), RATE, 1, [])


def knobs_of(name: str) -> list[str]:
    return [knob.name for knob in model_of(name).circuit.knobs]


def source(model: CircuitModel, tuning: Tuning, knobs: list[str]) -> str:
    """The generated circuit, what its knobs do, and the data's size."""
    lines = [f"const double {knob} = positions[{k}];" for k, knob in enumerate(knobs)]
    lines += [f"numbers[{k}] = {sympy.ccode(formula)};" for k, formula in enumerate(tuning.formulas)]
    return f"""{model.discrete.structure.source}
#include "tuning.hpp"
using Tuned = circuitnn::Tuning<Circuit, {len(tuning.formulas)}>;
static_assert(sizeof(Tuned) == {len(tuning.data)} * sizeof(double));
struct Map {{
    static constexpr int knobs = {len(knobs)};
    static bool moves(int) {{ return true; }}
    const Tuned& tuned;
    void numbers(const double* positions, double* theta) const {{
        double numbers[{len(tuning.formulas)}];
        {" ".join(lines)}
        tuned.numbers(numbers, theta);
    }}
}};
extern "C" void numbers(const double* data, const double* positions, double* theta) {{
    Map{{*reinterpret_cast<const Tuned*>(data)}}.numbers(positions, theta);
}}
"""


RUN = """
// turns [blocks, knobs] are made between blocks; each block is run in pieces of the given lengths.
extern "C" void run(const double* data, const double* positions, const double* turns, int64_t blocks,
                    const int64_t* pieces, int64_t count, int64_t hold, const double* u, double* x, double* w,
                    double* y) {
    const Map map{*reinterpret_cast<const Tuned*>(data)};
    circuitnn::Knobs<Circuit, Map> knobs(map, hold);
    knobs.start(positions);
    circuitnn::Statistics statistics;
    for (int64_t block = 0; block < blocks; ++block) {
        for (int k = 0; k < Map::knobs; ++k) knobs.turn(k, turns[block * Map::knobs + k]);
        for (int64_t piece = 0; piece < count; ++piece) {
            knobs.run(pieces[piece], u, x, w, y, statistics);
            u += pieces[piece] * Circuit::n_u;
            y += pieces[piece] * Circuit::n_y;
        }
    }
}
"""


def array(values: object) -> NDArray[np.float64]:
    return np.ascontiguousarray(values, dtype=np.float64)


def pointer(values: NDArray[np.float64]) -> ctypes.c_void_p:
    return ctypes.c_void_p(values.ctypes.data)


@pytest.mark.parametrize("name", ["fmv_tone_stack", "ts808", "big_muff", "two stages"])
def test_the_header_computes_the_same_numbers(name: str) -> None:
    model, knobs = model_of(name), knobs_of(name)
    nominal = dict.fromkeys(knobs, 0.3)
    tuning = model.discrete.tuning(nominal, knobs)
    library = compiler.compile_library(source(model, tuning, knobs))
    positions = np.random.default_rng(0).uniform(0.0, 1.0, (12, len(knobs)))
    positions[3], positions[4], positions[5] = 0.0, 1.0, 0.3
    found = np.empty((12, model.discrete.structure.size))
    data = array(tuning.data)
    for k in range(12):
        library.numbers(pointer(data), pointer(array(positions[k])), pointer(found[k]))
    # At the nominal values nothing is updated at all.
    np.testing.assert_array_equal(found[5], tuning.data[: found.shape[1]].numpy())
    columns = torch.as_tensor(positions.T.copy())
    along = model.discrete.theta_along(dict(zip(knobs, columns, strict=True)), 12).numpy()
    whole = np.stack([model.discrete.theta(dict(zip(knobs, map(float, p), strict=True))).numpy() for p in positions])
    offset = 0
    for rows, width in [*model.discrete.structure.shapes.values(), (1, model.discrete.structure.size)]:
        part = slice(offset, min(offset + rows * width, found.shape[1]))
        offset = part.stop
        for expected in (along[:, part], whole[:, part]):
            if expected.size:
                # What is zero is so but for rounding, which differs between processors.
                scale = 1e-10 * np.abs(expected).max(1, keepdims=True) + 1e-14
                assert (np.abs(found[:, part] - expected) < scale).all()
    assert np.abs(found - found[5]).max() > 1e-3


@pytest.mark.parametrize("pieces", [[32], [7, 20, 5], [1, 31]])
@pytest.mark.parametrize("name", ["ts808", "two stages"])
def test_a_run_with_knobs_equals_the_model(name: str, pieces: list[int]) -> None:
    model, knobs = model_of(name), knobs_of(name)
    blocks = 12
    time = blocks * CONTROL_PERIOD
    assert sum(pieces) == CONTROL_PERIOD
    turns = np.random.default_rng(1).uniform(0.0, 1.0, (blocks, len(knobs)))
    turns[3] = turns[4] = turns[5]  # it stands still for a while
    turns[7, 0] = 1.0
    u = 0.2 * torch.sin(0.1 * torch.arange(time, dtype=torch.float64))[None, :, None]
    first = {knob: float(turns[0, k]) for k, knob in enumerate(knobs)}
    _, rest = model(torch.zeros(1, 0, 1), knobs=first)
    positions = np.repeat(turns, CONTROL_PERIOD, 0)
    tensors = {knob: torch.as_tensor(positions[:, k].copy())[None] for k, knob in enumerate(knobs)}
    with torch.no_grad():
        expected, end = model(u, knobs=tensors)
    tuning = model.discrete.tuning(dict.fromkeys(knobs, 0.5), knobs)
    library = compiler.compile_library(source(model, tuning, knobs) + RUN)
    x, w, y = array(rest.x[0].detach()), array(rest.w[0]), np.empty((time, expected.shape[2]))
    lengths = np.array(pieces, dtype=np.int64)
    library.run(
        pointer(array(tuning.data)), pointer(array(turns[0])), pointer(array(turns)), ctypes.c_int64(blocks),
        pointer(lengths), ctypes.c_int64(len(pieces)), ctypes.c_int64(CONTROL_PERIOD), pointer(array(u[0])),
        pointer(x), pointer(w), pointer(y),
    )  # fmt: skip
    np.testing.assert_allclose(y, expected[0].numpy(), rtol=0, atol=1e-9)
    np.testing.assert_allclose(x, end.x[0].numpy(), rtol=1e-7, atol=1e-9 * float(end.x.abs().max()))
    with torch.no_grad():
        assert float((model(u, knobs=first)[0] - expected).abs().max()) > 1e-2


def test_what_moves_is_named() -> None:
    tuning = model_of("ts808").discrete.tuning({}, ["tone"])
    assert tuning.names == ("RT1", "RT2")
    tone = next(iter(tuning.formulas[0].free_symbols))
    assert [float(formula.subs(tone, 0.25)) for formula in tuning.formulas] == pytest.approx([5010.0, 15010.0])
    # An element can move by itself; a conductance is what is in the equations.
    (formula,) = model_of("ts808").discrete.tuning({}, ["R4"]).formulas
    assert float(formula.subs(next(iter(formula.free_symbols)), 4.7e3)) == pytest.approx(1.0 / 4.7e3)


@pytest.mark.parametrize(
    "card",
    [
        "C1 out 0 {1n + 1n*p}",
        "I1 out 0 {1m*p}",
        "B1 out 0 I={1m*p*tanh(v(out))}",
        "D1 out 0 DP\n.model DP D(IS={1n*(1 + p)})",
    ],
)
def test_a_knob_that_moves_something_else_is_refused(card: str) -> None:
    circuit = parse(f".param p=0.5\nVin in 0 0\nR1 in out 1k\n{card}\n*@ input Vin")
    with pytest.raises(CircuitError, match=r"cannot move while the circuit runs|not only resistors and gains"):
        DiscreteCircuit(circuit, RATE).tuning({}, ["p"])


def test_the_header_compiles_without_warnings(tmp_path: Path) -> None:
    command = compiler.find_compiler()
    if command is None:
        pytest.skip("no C++ compiler")
    model = model_of("two stages")
    (tmp_path / "circuit.cpp").write_text(source(model, model.discrete.tuning({}, ["depth"]), ["depth"]) + RUN)
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Wshadow", "-Werror", f"-I{compiler.HEADERS}"]
    done = subprocess.run(
        [*command, *flags, "-c", "circuit.cpp", "-o", "circuit.o"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
