"""What `inspect` finds: the overview, bias, sweeps, transfer curves and the sheet, against known answers."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import ngspice
import numpy as np
import pytest
from circuits import CASES, parse

from circuitnn.circuit import Circuit
from circuitnn.errors import CircuitError, OutputError
from circuitnn.inspection import inspect, show, unit
from circuitnn.inspection.frequencies import curve, steps
from circuitnn.netlist import parse_netlist, read_netlist

RC = "rc\n*@ input Vin\n*@ output out\n*@ learn R1 C1\nVin in 0 0\nR1 in out 10k\nC1 out 0 10n\n.end\n"
V_T = 1.380649e-23 * 300.15 / 1.602176634e-19
FREQUENCIES = (20.0, 1e3, 20e3)


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


# --- Bias ---


def test_a_loaded_divider_by_hand() -> None:
    found = inspect(parse("V1 a 0 9\nR1 a b 1k\nR2 b 0 2k\nI1 0 b 3m\nR0 b c 0\nR3 c 0 1Meg\nC1 b 0 1u"))
    bias = {item.name: item for item in found.bias}
    b = (9e-3 + 3e-3) / (1e-3 + 0.5e-3 + 1e-6)
    assert found.operating_point == {"a": pytest.approx(9.0), "b": pytest.approx(b), "c": pytest.approx(b)}
    # Into the first node: the supply delivers, so its own current is negative.
    assert bias["V1"].current == pytest.approx(-(9.0 - b) / 1e3)
    assert bias["V1"].power == pytest.approx(-9.0 * (9.0 - b) / 1e3)
    assert bias["R1"].current == pytest.approx((9.0 - b) / 1e3)
    assert bias["R1"].power == pytest.approx((9.0 - b) ** 2 / 1e3)
    assert bias["R0"].current == pytest.approx(b / 1e6)
    assert bias["R2"].voltage == pytest.approx(b)
    # A current source drives its current from + through itself to -.
    assert bias["I1"].current == pytest.approx(3e-3)
    assert bias["I1"].power == pytest.approx(-3e-3 * b)
    assert bias["C1"].current == 0.0
    assert [item.name for item in found.supplies] == ["V1", "I1"]


def test_controlled_sources_by_hand() -> None:
    cards = "V1 a 0 2\nR1 a b 1k\nVs b 0 0\nF1 0 f Vs 3\nR2 f 0 1k\nH1 h 0 Vs 5k\nR3 h 0 10k\nE1 e 0 a 0 2\n"
    cards += "R4 e 0 1k\nG1 g 0 a 0 1m\nR5 g 0 1k\nL1 a c 1\nL2 c 0 1\nR6 c 0 1k\nK1 L1 L2 0.5\nR7 c 0 1k"
    bias = {item.name: item for item in inspect(parse(cards.replace("L2 c 0 1", "L2 d 0 1\nR8 c d 1k"))).bias}
    assert "K1" not in bias
    currents = {"VS": 2e-3, "F1": 6e-3, "H1": -1e-3, "E1": -4e-3, "G1": 2e-3, "L1": 6e-3, "L2": 2e-3, "R8": 2e-3}
    assert {name: bias[name].current for name in currents} == pytest.approx(currents)
    powers = {"F1": -36e-3, "H1": -10e-3, "E1": -16e-3, "G1": -4e-3, "R2": 36e-3}
    assert {name: bias[name].power for name in powers} == pytest.approx(powers)


def test_a_sensed_current_controls_in_ampere() -> None:
    found = inspect(parse("V1 a 0 2\nR1 a b 1k\nVs b 0 0\nB1 0 out I={i(Vs)**2}\nR2 out 0 1k"))
    (b1,) = found.devices
    assert b1.controls["i(VS)"] == pytest.approx(2e-3)
    assert b1.current == pytest.approx(4e-6)


def test_a_transistor_by_its_own_law() -> None:
    found = inspect(CASES["npn"].circuit)
    (q1,) = found.devices
    v_be, v_bc = q1.controls["v(b,e)"], q1.controls["v(b,c)"]
    saturation = 1.5 * 10e-15
    forward, reverse = saturation * math.expm1(v_be / (1.05 * V_T)), saturation * math.expm1(v_bc / (1.1 * V_T))
    transport = (forward - reverse) * (1.0 - v_bc / 60.0)
    base, collector = forward / 200.0 + reverse / 3.0, transport - reverse / 3.0
    # SPICE's GMIN across both junctions is what is left.
    expected = {"c": collector - 1e-12 * v_bc, "b": base + 1e-12 * (v_be + v_bc), "e": -collector - base - 1e-12 * v_be}
    assert q1.terminals == {name: pytest.approx(value, rel=1e-8) for name, value in expected.items()}
    v_ce = v_be - v_bc
    assert q1.power == pytest.approx(v_be * base + v_ce * collector, rel=1e-6)


def test_a_pnp_has_its_currents_the_other_way() -> None:
    (q1,) = inspect(CASES["pnp"].circuit).devices
    assert q1.terminals["c"] < 0.0 < q1.terminals["e"]
    assert set(q1.controls) == {"v(e,b)", "v(c,b)"}
    assert q1.power > 0.0


def test_terminals_on_one_node_have_one_current() -> None:
    found = inspect(parse("I1 0 a 1m\nQ1 a a 0 QN\n.model QN NPN(IS=1f BF=100)"))
    (q1,) = found.devices
    assert q1.terminals == {"c+b": pytest.approx(1e-3), "e": pytest.approx(-1e-3)}
    assert list(q1.controls) == ["v(a)"]


def test_diodes_of_a_bundle_are_one_row_and_inner_nodes_none() -> None:
    found = inspect(CASES["antiparallel"].circuit)
    assert [item.name for item in found.devices] == ["D1|D2|D3"]
    found = inspect(parse("I1 0 a 1m\nD1 a 0 DR\n.model DR D(IS=1n RS=20)"))
    (d1,) = found.devices
    assert d1.current == pytest.approx(1e-3)
    # The junction and the series resistance.
    assert d1.power == pytest.approx(1e-3 * (V_T * math.log1p(1e-3 / 1e-9) + 20e-3), rel=1e-6)
    assert set(found.operating_point) == {"a"}


# At DC no current flows at all in the others.
@pytest.mark.parametrize("name", sorted(CASES.keys() - {"rc", "amplifier"}))
def test_powers_add_up_to_nothing(name: str) -> None:
    """Tellegen: what sources deliver is what the others absorb."""
    # An input that is not at zero drives everything.
    cards = re.sub(r"\*@ input.*", "", CASES[name].netlist)
    circuit = parse(re.sub(r"^([VI]\w+ \w+ \w+) 0$", r"\1 1.5", cards, count=1, flags=re.MULTILINE))
    powers = [item.power for item in inspect(circuit).bias]
    assert sum(powers) == pytest.approx(0.0, abs=1e-9 * max(map(abs, powers)))
    assert max(map(abs, powers)) > 0.0


@pytest.mark.ngspice
def test_currents_agree_with_ngspice(netlists: Path) -> None:
    text = re.sub(r"^\.(op|end)\s*$", "", (netlists / "ts808.cir").read_text(), flags=re.MULTILINE)
    names = ["@q1[ic]", "@q1[ib]", "@q2[ic]", "i(vcc)", "i(vbias)", "@r3[i]"]
    theirs = ngspice.vectors(f"{text}\n.options reltol=1e-8 abstol=1e-16 vntol=1e-12\n", "op", names)
    ours = {item.name: item for item in inspect(read_netlist(netlists / "ts808.cir")).bias}
    q1, q2 = ours["Q1"].terminals, ours["Q2"].terminals
    found = [q1["c"], q1["b"], q2["c"], ours["VCC"].current, ours["VBIAS"].current, ours["R3"].current]
    np.testing.assert_allclose(found, [theirs[name][0] for name in names], rtol=1e-4)


# --- Sweeps ---


def test_a_sweep_is_the_response_at_each_position(netlists: Path) -> None:
    """Each curve is that of a netlist which says so itself."""
    text = (netlists / "ts808.cir").read_text()
    sweeps = {sweep.knob: sweep for sweep in inspect(parse_netlist(text)).knob_sweeps(FREQUENCIES)}
    assert list(sweeps) == ["drive", "tone", "level"]
    for name, sweep in sweeps.items():
        for k, position in enumerate(sweep.positions):
            moved = parse_netlist(re.sub(rf"(\.param.*\b{name})=0.5", rf"\1={position}", text))
            expected = inspect(moved).linearised.response(FREQUENCIES).gain
            np.testing.assert_allclose(sweep.gain[k], expected, rtol=1e-9)


def test_a_sweep_follows_the_taper() -> None:
    """Half of a logarithmic pot is a tenth of its track."""
    knob = "*@ knob drive taper=log\n.param drive=0.5\n.end"
    netlist = RC.replace("*@ learn R1 C1", "").replace("10k", "{1k + drive*10k}").replace(".end", knob)
    (sweep,) = inspect(parse_netlist(netlist)).knob_sweeps(FREQUENCIES)
    assert sweep.positions[2] == 0.5
    expected = [1 / (1 + 2j * math.pi * f * 2e3 * 10e-9) for f in FREQUENCIES]
    np.testing.assert_allclose(sweep.gain[2, :, 0, 0], expected, rtol=1e-12)


def test_a_position_without_a_solution_is_named() -> None:
    # With the knob at 1 the two amplifiers follow each other, and nothing determines their voltage.
    cards = "Vin in 0 0\nR1 in a 1k\nR2 a 0 1k\nE1 b 0 c 0 {k}\nE2 c 0 b 0 1\nR3 b c 1k\n.param k=0.5"
    circuit = parse(f"{cards}\n*@ input Vin\n*@ output a\n*@ knob k")
    with pytest.raises(CircuitError, match="with k at 1"):
        inspect(circuit).knob_sweeps(FREQUENCIES)


def test_the_transfer_curve_of_a_clipper_obeys_its_equation() -> None:
    cards = "Vin in 0 0\nR1 in out 2.2k\nC1 out 0 10n\nD1 out 0 DS\nD2 0 out DS\n.model DS D(IS=2.52n N=1.752)"
    (transfer,) = inspect(parse(f"{cards}\n*@ input Vin\n*@ output out")).transfer_curves()
    v_in, v_out = np.array(transfer.voltages), transfer.output[:, 0]
    assert (v_in[0], v_in[-1], len(v_in)) == (-5.0, 5.0, len(set(v_in)))
    current = 2.0 * 2.52e-9 * np.sinh(v_out / (1.752 * V_T)) + 2e-12 * v_out
    np.testing.assert_allclose((v_in - v_out) / 2.2e3, current, rtol=1e-6, atol=1e-15)


def test_no_transfer_curve_where_it_would_say_nothing(netlists: Path) -> None:
    assert inspect(parse_netlist(RC)).transfer_curves() == ()
    assert inspect(read_netlist(netlists / "ts808.cir")).transfer_curves() == ()


# --- Frequencies and the sheet ---


def test_frequencies_are_those_that_people_write() -> None:
    assert steps(20.0, 20e3) == (20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4, 2e4)
    assert steps(0.3, 2.1) == (0.5, 1.0, 2.0)
    assert steps(2.1, 2.2) == ()
    line = np.array(curve(20.0, 20e3))
    assert (line[0], line[-1]) == (20.0, pytest.approx(20e3))
    assert np.ptp(np.diff(np.log(line))) < 1e-12
    assert len(curve(20.0, 20e3, 7)) == 7


def sheets() -> dict[str, Circuit]:
    return {
        "title with $formula$": parse_netlist(RC.replace("rc", "a $title with $formula")),
        "two inputs, many outputs": CASES["two_inputs"].circuit,
        "current input": CASES["current_sources"].circuit,
    }


@pytest.mark.parametrize("name", sheets())
def test_a_sheet_of_any_circuit(name: str, tmp_path: Path) -> None:
    from circuitnn.inspection.figures import plot_sheet

    plot_sheet(inspect(sheets()[name]), tmp_path / "plot.png", 500.0, 2e3)
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_the_plot_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    from circuitnn.inspection.figures import plot_sheet

    found = inspect(parse_netlist(RC))
    with pytest.raises(OutputError):
        plot_sheet(found, tmp_path / "missing" / "plot.png", 20.0, 20e3)
    assert not list(tmp_path.iterdir())


def test_every_netlist_can_be_inspected(netlists: Path) -> None:
    for path in sorted(netlists.glob("*.cir")):
        found = inspect(read_netlist(path))
        assert set(found.operating_point) == set(found.circuit.nodes)
        assert np.all(np.isfinite(found.linearised.response(FREQUENCIES).gain))
        powers = [item.power for item in found.bias]
        assert sum(powers) == pytest.approx(0.0, abs=1e-9 * max(map(abs, powers)))


@pytest.mark.parametrize("options", [[], ["--json", "--show", "all"]], ids=["overview", "everything"])
def test_inspecting_needs_no_torch(netlists: Path, options: list[str]) -> None:
    code = (
        "import sys; from circuitnn.cli import main; main(['inspect', *sys.argv[1:]], standalone_mode=False); "
        "sys.exit(' '.join({'torch', 'scipy', 'matplotlib', 'soundfile'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(netlists / "ts808.cir"), *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
