"""Compiling and caching: what is built, when, and what is said when it cannot be."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from circuits import CASES, discrete, excitation, parse, start

from circuitnn.discretise import DiscreteCircuit
from circuitnn.errors import CompilerError
from circuitnn.kernel import CompiledKernel
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.reference import ReferenceKernel
from circuitnn.runtime import compiler
from circuitnn.simulate import kernel_id, simulate

ANSWER = 'extern "C" int answer() { return 42; }\n'


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache folder, and a fresh look for a compiler. Only what zig builds for itself is shared."""
    monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", str(compiler.cache_folder() / "zig"))
    monkeypatch.setenv("CIRCUITNN_CACHE", str(tmp_path / "cache"))
    compiler.find_compiler.cache_clear()
    yield tmp_path / "cache"
    monkeypatch.undo()
    compiler.find_compiler.cache_clear()


def test_a_library_is_compiled_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: (calls.append(a), run(*a, **k))[1])
    for _ in range(3):
        assert compiler.compile_library(ANSWER).answer() == 42
    assert len(calls) == 1
    assert compiler.compile_library(ANSWER.replace("42", "43")).answer() == 43
    assert len(calls) == 2
    assert len(list(cache.glob("*.so"))) == 2
    assert not list(cache.glob("build-*"))


def test_nothing_is_written_outside_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home folder may be read-only, as in a container. Zig would keep its files there."""
    pytest.importorskip("ziglang")
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("ZIG_GLOBAL_CACHE_DIR", raising=False)
    for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path))
    compiler.find_compiler.cache_clear()
    # A source that no cache holds.
    assert compiler.compile_library(f"// {tmp_path}\n{ANSWER}").answer() == 42
    assert not list(tmp_path.iterdir())


def test_everything_that_matters_is_in_the_name(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler.compile_library(ANSWER)
    monkeypatch.setattr(compiler, "FLAGS", (*compiler.FLAGS, "-DANOTHER"))
    compiler.compile_library(ANSWER)
    monkeypatch.setattr(compiler, "_machine", lambda: "another machine")
    compiler.compile_library(ANSWER)
    assert len(list(cache.glob("*.so"))) == 3


def test_several_at_once_do_not_disturb_each_other(cache: Path) -> None:
    source, found = ANSWER.replace("42", "7"), []
    threads = [
        threading.Thread(target=lambda: found.append(compiler.compile_library(source).answer())) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [7, 7, 7, 7]
    assert [path.suffix for path in cache.iterdir()] == [".so"]


def test_a_compiler_error_is_shown(cache: Path) -> None:
    with pytest.raises(CompilerError, match="no_such_function"):
        compiler.compile_library('extern "C" int broken() { return no_such_function(); }')
    assert not list(cache.glob("*"))


def test_a_compiler_that_does_not_exist_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "/nowhere/my-compiler -v")
    with pytest.raises(CompilerError, match="/nowhere/my-compiler cannot be run") as caught:
        compiler.compile_library(ANSWER)
    assert "$CXX" in str(caught.value)


def test_a_cache_that_cannot_be_written_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CIRCUITNN_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(CompilerError, match=r"CIRCUITNN_CACHE"):
        compiler.compile_library(ANSWER)


def test_without_a_compiler_the_reference_runs_and_says_so(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = CircuitModel(CASES["single_diode"].circuit, 48000.0, 1, [])(excitation("single_diode", 20))[0]
    monkeypatch.setattr(compiler, "find_compiler", lambda: None)
    kernel_id.cache_clear()
    try:
        model = CircuitModel(CASES["single_diode"].circuit, 48000.0, 1, [])
        with pytest.warns(UserWarning, match="slow torch reference"):
            y, _ = model(excitation("single_diode", 20))
        torch.testing.assert_close(y, expected, rtol=1e-9, atol=1e-9)
        with pytest.raises(CompilerError, match="no C\\+\\+ compiler"):
            CircuitModel(CASES["single_diode"].circuit, 48000.0, 1, [], compiled=True)(excitation("single_diode", 20))
    finally:
        kernel_id.cache_clear()


def test_generated_code_holds_structure_and_no_values() -> None:
    """Two circuits that differ in values share one library."""
    structure = discrete("single_diode").structure
    assert "2.2e" not in structure.source.lower()
    assert "10000" not in structure.source
    other = CASES["single_diode"].netlist.replace("2.2k", "4.7k").replace("N=1.752", "N=1.2")
    assert kernel_id(DiscreteCircuit(parse(other), 44100.0).structure) == kernel_id(structure)


@pytest.mark.parametrize("name", ["rc", "series_diodes", "npn", "breakdown"])
def test_generated_code_compiles_without_warnings(name: str, tmp_path: Path) -> None:
    command = compiler.find_compiler()
    if command is None:
        pytest.skip("no C++ compiler")
    s = discrete(name).structure
    exports = "\n".join(
        f"namespace export_{k} {{ CIRCUITNN_{name}(Circuit) }}"
        for k, name in enumerate(("SIMULATE", "SIMULATE_LANES", "ADJOINT", "ADJOINT_LANES", "TANGENT"))
    )
    # One exported name for all, so each is renamed in its turn.
    parts = [
        f"#define circuitnn_function function_{k}\n{line}\n#undef circuitnn_function"
        for k, line in enumerate(exports.splitlines())
    ]
    (tmp_path / "circuit.cpp").write_text(s.source + "\n".join(parts))
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Wshadow", "-Werror", f"-I{compiler.HEADERS}"]
    done = subprocess.run(
        [*command, *flags, "-c", "circuit.cpp", "-o", "circuit.o"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="sanitizers are set up for Linux")
@pytest.mark.parametrize("name", ["series_diodes", "npn"])
def test_the_core_touches_no_memory_but_its_own(name: str, tmp_path: Path) -> None:
    """A stand-alone program with exact-size arrays, under the address and undefined-behaviour sanitizers."""
    system = shutil.which("g++") or shutil.which("clang++")
    if system is None:
        pytest.skip("no C++ compiler with sanitizers")
    command = (system,)
    s = discrete(name).structure
    theta, x, w = start(discrete(name))
    numbers = {"theta": theta[0], "x0": x[0], "w0": w[0], "u": excitation(name, 50)[0].reshape(-1)}
    arrays = "\n".join(
        f"static const double {key}[] = {{{', '.join(map(repr, value.tolist())) or '0'}}};"
        for key, value in numbers.items()
    )
    main = f"""
#include <stdio.h>
#include <vector>
using V = std::vector<double>;
{arrays}
int main() {{
    const int T = 50, X = {s.n_x}, U = {s.n_u}, Y = {s.n_y}, N = {s.n_n}, S = {s.size}, B = 2, W = B * circuitnn::width;
    V input(u, u + T * U), th(theta, theta + S), x(x0, x0 + X), w(w0, w0 + N), y(T * Y), xs(T * X), ws(T * N);
    circuitnn::Statistics statistics[8];
    const circuitnn::Batch one{{1, T, 0, 1, 1}};
    circuitnn::simulate<Circuit, double>(one, input.data(), x.data(), w.data(), th.data(), y.data(), xs.data(),
                                         ws.data(), 1, statistics);
    V y_bar(T * Y, 1.0), x_bar(X, 1.0), u_bar(T * U), theta_bar(S);
    circuitnn::adjoint<Circuit, double>(one, input.data(), xs.data(), ws.data(), th.data(), y_bar.data(), x_bar.data(),
                                        u_bar.data(), theta_bar.data());
    // Three recordings in eight lanes, with numbers that move.
    const circuitnn::Batch few{{3, T, 0, 3, 32}};
    V inputs, xx, ww, moving, all_y(3 * T * Y), all_xs(8 * T * X), all_ws(8 * T * N);
    for (int k = 0; k < 3; ++k) {{
        inputs.insert(inputs.end(), u, u + T * U);
        xx.insert(xx.end(), x0, x0 + X);
        ww.insert(ww.end(), w0, w0 + N);
        moving.insert(moving.end(), theta, theta + S);
    }}
    circuitnn::simulate<Circuit, circuitnn::DoubleLanes>(few, inputs.data(), xx.data(), ww.data(), moving.data(),
                                                         all_y.data(), all_xs.data(), all_ws.data(), 1, statistics);
    V all_y_bar(3 * T * Y, 1.0), all_x_bar(3 * X, 1.0), all_u_bar(3 * T * U), all_theta_bar(3 * 3 * S);
    circuitnn::adjoint<Circuit, circuitnn::DoubleLanes>(few, inputs.data(), all_xs.data(), all_ws.data(),
                                                        moving.data(), all_y_bar.data(), all_x_bar.data(),
                                                        all_u_bar.data(), all_theta_bar.data());
    // Two products for the first block, one for the second.
    const int64_t first[] = {{0, 2, 3}}, on_devices[] = {{1, 0}}, chosen[3 * circuitnn::width] = {{}};
    const int rows = X + Y + N, factors = circuitnn::factors<Circuit>, C = circuitnn::Layout<Circuit>::coefficients;
    V dx(X * W), right(factors * circuitnn::width, 1e-3), left(3 * rows * circuitnn::width, 1e-3), dc(C * W, 1e-6);
    V products(2 * circuitnn::width), du(T * U * W, 1.0), dy(T * Y * W);
    const circuitnn::ThetaTangent change{{
        B, 1, first, chosen, right.data(), left.data(), on_devices, dc.data(), products.data()}};
    x.assign(x0, x0 + X); w.assign(w0, w0 + N);
    circuitnn::tangent<Circuit>(one, input.data(), x.data(), w.data(), th.data(), change, dx.data(), du.data(),
                                y.data(), dy.data(), statistics[0]);
    for (double value : y) printf("%.17g\\n", value);
}}
"""
    (tmp_path / "main.cpp").write_text(s.source + main)
    flags = [
        "-std=c++17",
        "-O0",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
        f"-I{compiler.HEADERS}",
    ]
    build = subprocess.run(
        [*command, *flags, "main.cpp", "-o", "main"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    if build.returncode != 0 and "cannot find" in build.stderr:
        pytest.skip("the sanitizers' libraries are not installed")
    assert build.returncode == 0, build.stderr
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    done = subprocess.run([tmp_path / "main"], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[:3000]
    y = np.array(done.stdout.split(), dtype=float).reshape(50, s.n_y)
    expected = simulate(excitation(name, 50), x, w, theta, kernel_id(s, True)).y[0].numpy()
    np.testing.assert_allclose(y, expected, rtol=1e-9, atol=1e-9)


def test_the_exponential_is_accurate_to_four_units_in_the_last_place(tmp_path: Path) -> None:
    library = compiler.compile_library(
        '#include "circuitnn.hpp"\nextern "C" void exps(const double* x, double* y, int64_t n) '
        "{ for (int64_t k = 0; k < n; ++k) y[k] = circuitnn::exponential<double>(x[k]); }\n"
        'extern "C" void limited(const double* x, double* y, int64_t n) '
        "{ for (int64_t k = 0; k < n; ++k) "
        "y[k] = circuitnn::clamped_exp<double>(x[k]) * (1.0 + circuitnn::ramp<double>(x[k])); }\n"
    )

    def call(name: str, x: np.ndarray) -> np.ndarray:
        y = np.empty_like(x)
        pointer = ctypes.POINTER(ctypes.c_double)
        getattr(library, name)(x.ctypes.data_as(pointer), y.ctypes.data_as(pointer), ctypes.c_int64(x.size))
        return y

    rng = np.random.default_rng(0)
    x = np.concatenate(
        [rng.uniform(-708.0, 709.0, 200_000), rng.uniform(-1.0, 1.0, 200_000), np.array([0.0, -0.0, 1e-300])]
    )
    exact = np.exp(x.astype(np.longdouble))
    assert (np.abs(call("exps", x) - exact) <= 4.0 * np.spacing(np.exp(x))).all()
    assert call("exps", np.array([0.0]))[0] == 1.0
    # Far below, it stays at its smallest value; it never becomes zero, infinite or denormal.
    assert (call("exps", np.array([-709.0, -1e4, -np.inf])) == call("exps", np.array([-708.0]))).all()
    assert np.isnan(call("exps", np.array([np.nan]))[0])
    far = np.array([80.0, 80.5, 200.0, 1e6])
    np.testing.assert_allclose(call("limited", far), np.exp(80.0) * (far - 79.0), rtol=1e-14)


@pytest.mark.parametrize("name", ["series_diodes", "npn"])
def test_the_core_runs_in_single_precision(name: str) -> None:
    """For programs that include the header: within single precision's rounding of the same run in double."""
    model = discrete(name)
    s, (theta, x, w) = model.structure, start(model)
    library = compiler.compile_library(
        s.source
        + """extern "C" void single(const double* u, double* x, double* w, const double* theta, double* y,
                                    int64_t length, int64_t* failures) {
            circuitnn::Statistics statistics;
            const circuitnn::Batch one{1, length, 0, 1, 1};
            circuitnn::simulate<Circuit, float>(one, u, x, w, theta, y, nullptr, nullptr, 0, &statistics);
            *failures = statistics.failures;
        }"""
    )
    u = excitation(name, 1000)
    y, failures = torch.empty(1000, s.n_y, dtype=torch.float64), ctypes.c_int64()
    arrays = [t.detach().clone().contiguous() for t in (u[0], x[0], w[0], theta[0], y)]
    library.single(
        *(ctypes.c_void_p(array.data_ptr()) for array in arrays), ctypes.c_int64(1000), ctypes.byref(failures)
    )
    expected = simulate(u, x, w, theta, kernel_id(s, True)).y[0]
    assert failures.value == 0
    error = (arrays[-1] - expected).abs().amax(0)
    assert (error < 1e-3 * expected.abs().amax(0)).all()
    assert (error > 0.0).any()


def test_both_kernels_have_one_interface() -> None:
    public = [{name for name in vars(kind) if not name.startswith("_")} for kind in (CompiledKernel, ReferenceKernel)]
    assert public[0] == public[1] == {"simulate", "adjoint", "tangent"}
