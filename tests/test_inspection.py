"""What `inspect` finds, against circuits whose answers are known in closed form."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from circuitnn.errors import OutputError
from circuitnn.inspection import PLOT_FREQUENCIES, inspect, plot_response, show, unit
from circuitnn.netlist import parse_netlist, read_netlist

RC = "rc\n*@ input Vin\n*@ output out\n*@ learn R1 C1\nVin in 0 0\nR1 in out 10k\nC1 out 0 10n\n.end\n"


def test_a_low_pass_has_the_response_of_a_low_pass() -> None:
    found = inspect(parse_netlist(RC))
    frequency = np.array(found.frequencies)
    np.testing.assert_allclose(found.response[:, 0, 0], 1 / (1 + 2j * np.pi * frequency * 1e-4), rtol=1e-12)


def test_a_diode_conducts_as_its_slope_at_the_operating_point() -> None:
    netlist = (
        "bias\n*@ input Vin\n*@ output out\nVin in 0 0.0\nVcc vcc 0 5\nR1 vcc out 4.7k\nC1 in out 100u\n"
        "D1 out 0 D\n.model D D(IS=1n N=1.5)\n.end\n"
    )
    netlist = netlist.replace("C1 in out 100u", "R2 in out 1Meg")
    found = inspect(parse_netlist(netlist))
    voltage = found.operating_point["out"]
    current = (5.0 - voltage) / 4700.0 - voltage / 1e6
    conductance = (current + 1e-9) / (1.5 * 1.380649e-23 * 300.15 / 1.602176634e-19)
    expected = 1e-6 / (1e-6 + 1 / 4700.0 + conductance)
    np.testing.assert_allclose(found.response[:, 0, 0], expected, rtol=1e-6)


def test_a_knob_is_shown_at_its_position_and_value() -> None:
    netlist = RC.replace("*@ learn R1 C1", "*@ knob drive 0.5 taper=log\n*@ learn drive").replace("10k", "{drive*10k}")
    found = inspect(parse_netlist(netlist.replace(".end", ".param drive=0.1\n.end")))
    (knob,) = found.knobs
    assert (knob.name, knob.taper) == ("drive", "log")
    assert (knob.position, knob.value) == (pytest.approx(0.5), 0.1)


def test_tolerances_come_from_the_card_then_from_the_kind() -> None:
    netlist = RC.replace("*@ learn R1 C1", "*@ learn R1 tol=1%\n*@ learn C1\n*@ tol C=20%")
    found = inspect(parse_netlist(netlist))
    assert {item.name: item.tolerance for item in found.learnable} == {"R1": 0.01, "C1": 0.2}
    assert {item.name: item.nominal for item in found.learnable} == {"R1": 1e4, "C1": 1e-8}


def test_model_parameters_that_no_law_uses_are_named() -> None:
    diode = "D1 out 0 DX\n.model DX D(IS=1n N=1.5 CJO=4p TT=10n BV=75)\n.end"
    found = inspect(parse_netlist(RC.replace(".end", diode)))
    assert set(found.unused) == {"DX.cjo", "DX.tt"}


def test_a_netlist_without_ports_still_has_an_operating_point() -> None:
    found = inspect(parse_netlist("divider\nV1 a 0 9\nR1 a b 1k\nR2 b 0 2k\n.end\n"))
    assert found.operating_point == {"a": pytest.approx(9.0), "b": pytest.approx(6.0)}
    assert found.response.size == 0


def test_units() -> None:
    circuit = parse_netlist(RC.replace(".end", "D1 out 0 D\n.model D D(IS=1n RS=2)\n.param drive=0.5\n.end"))
    assert [unit(circuit, name) for name in ("R1", "C1", "VIN", "D.is", "D.rs", "drive")] == [
        "Ω",
        "F",
        "V",
        "A",
        "Ω",
        "",
    ]
    assert show(circuit, "R1", 4700.0) == "4.7 kΩ"
    assert show(circuit, "drive", 0.05) == "0.05"


def test_the_plot_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    found = inspect(parse_netlist(RC.replace("rc", "a $title with $formula")), PLOT_FREQUENCIES)
    plot_response(found, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(OutputError):
        plot_response(found, tmp_path / "missing" / "plot.png")
    assert [path.name for path in tmp_path.iterdir()] == ["plot.png"]


def test_every_netlist_can_be_inspected(netlists: Path) -> None:
    for path in sorted(netlists.glob("*.cir")):
        found = inspect(read_netlist(path))
        assert set(found.operating_point) == set(found.circuit.nodes)
        assert np.all(np.isfinite(found.response))


def test_inspecting_needs_no_torch(netlists: Path) -> None:
    code = (
        "import sys; from circuitnn.cli import main; main(['inspect', sys.argv[1]], standalone_mode=False); "
        "sys.exit(' '.join({'torch', 'scipy', 'matplotlib', 'soundfile'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(netlists / "ts808.cir")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
