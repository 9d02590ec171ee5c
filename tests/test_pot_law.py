"""Laws of pots that nobody knows, learned from recordings at several rotations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from circuitnn import CircuitModel, FitResult, Recording, fit, parse_netlist, read_netlist
from circuitnn.audio import write_wav
from circuitnn.cli import main
from circuitnn.excitation import plucked_string
from circuitnn.fitting.pot_law import PotLaw
from circuitnn.rendering import render
from circuitnn.tapers import table_points, value_at

RATE, LEVEL = 22050, 20.0
ROTATIONS, LEFT_OUT = (0.1, 0.3, 0.5, 0.7, 0.9), 0.6
NETLIST = """clipper with a pot in front
*@ input Vin
*@ output out
*@ learn C1 D.n
*@ knob gain taper={taper}
.param gain=0.5
Vin in 0 0
R1 in a {{2k+100k*(1-gain)}}
R2 a 0 {{100k*gain+10}}
R3 a out 10k
C1 out 0 {C1}
D1 out 0 D
D2 0 out D
.model D D(is=2n n=1.8)
"""


def circuit(taper: str, c1: str = "2n") -> str:
    return NETLIST.format(taper=taper, C1=c1)


laws = st.sets(st.integers(1, 99), min_size=1, max_size=8).map(lambda found: sorted(k / 100 for k in found))


@given(rotations=laws, seed=st.integers(0, 99), width=st.floats(0.0, 30.0))
def test_whatever_is_learned_rises_from_0_to_1(rotations: list[float], seed: int, width: float) -> None:
    law = PotLaw("gain", rotations)
    free = width * np.random.default_rng(seed).standard_normal(len(law))
    values = law.values(torch.as_tensor(free)).numpy()
    assert (np.diff([0.0, *values, 1.0]) > 0.0).all()
    # The table has the same values, and is a law that a netlist may have.
    taper = law.taper(free)
    assert np.array(table_points(taper))[1:-1, 1].tolist() == values.tolist()
    assert law.values(torch.zeros(len(law), dtype=torch.float64)).numpy() == pytest.approx(rotations, abs=1e-4)


def test_the_usual_laws_are_within_the_prior() -> None:
    law = PotLaw("gain", np.linspace(0.1, 0.9, 9).tolist())
    for taper in ("linear", "log", "antilog", "s"):
        target = torch.tensor([float(value_at(taper, r)) for r in law.rotations], dtype=torch.float64)
        free = torch.zeros(9, dtype=torch.float64, requires_grad=True)
        # Unknowns and values are as many: Newton's method finds the one point.
        for _ in range(30):
            slopes = torch.autograd.functional.jacobian(lambda q: torch.logit(law.values(q)), free.detach())
            step = torch.linalg.solve(slopes, torch.logit(target) - torch.logit(law.values(free.detach())))
            free = free.detach() + step
        assert law.values(free).numpy() == pytest.approx(target.numpy(), rel=1e-6)
        # A draw of the prior has a mean square of 1.
        assert float((free**2).mean()) < 1.5, taper


def test_what_is_told_follows_the_coordinates() -> None:
    law = PotLaw("gain", [0.2, 0.5, 0.55])
    free = np.array([0.7, -0.4, 1.1])
    coordinates, jacobian = law.coordinates(free)
    assert [c.name for c in coordinates] == ["gain(0.2)", "gain(0.5)", "gain(0.55)"]
    for k in range(3):
        step = 1e-6 * np.eye(3)[k]
        ends = [
            [c.free(v) for c, v in zip(coordinates, law.values(torch.as_tensor(free + side * step)), strict=True)]
            for side in (-1.0, 1.0)
        ]
        assert jacobian[:, k] == pytest.approx((np.array(ends[1]) - ends[0]) / 2e-6, rel=1e-6, abs=1e-9)


def recorded(rotation: float) -> Recording:
    """What a device with an audio pot and another capacitor makes of two notes."""
    device = CircuitModel(parse_netlist(circuit("log", "2.6n")), RATE, 1, learn=[])
    dry = np.concatenate([np.zeros(800), plucked_string(196.0, 0.2, RATE), 0.2 * plucked_string(523.0, 0.1, RATE)])
    dry = 0.5 * dry
    wet = 0.5 * render(device, dry, LEVEL, overrides=device.overrides({"gain": rotation})).output
    noise = 1e-4 * np.random.default_rng(round(100 * rotation)).standard_normal(len(wet))
    # One recorder at one gain: what differs is the knob alone.
    return Recording(dry, wet + noise, RATE, {"gain": rotation}, f"at {rotation}", gain_group="all")


def fitted(taper: str) -> tuple[CircuitModel, FitResult]:
    model = CircuitModel(parse_netlist(circuit(taper)), RATE, 1)
    recordings = [recorded(rotation) for rotation in ROTATIONS]
    return model, fit(model, recordings, input_level=LEVEL, held_out=[recorded(LEFT_OUT)])


@pytest.fixture(scope="module")
def learned() -> tuple[CircuitModel, FitResult]:
    return fitted("learned")


def test_an_audio_law_comes_back_within_its_intervals(learned: tuple[CircuitModel, FitResult]) -> None:
    _, result = learned
    (law,) = result.laws
    assert law.rotations == ROTATIONS
    truth = np.array([float(value_at("log", r)) for r in ROTATIONS])
    errors = (np.array(law.values) - truth) / law.stderr
    assert np.abs(errors).max() < 3.0
    assert np.sum(np.abs(errors) < 1.96) >= 4
    # And these are narrow: the recordings tell the law, not its prior.
    assert (np.array(law.stderr) < 0.02 * truth).all()
    assert abs(result.values["C1"] - 2.6e-9) < 3.0 * result.stderr["C1"]
    assert result.positions == {}
    assert len(result.covariance) == 2 + len(ROTATIONS)


def test_a_rotation_that_was_left_out_is_predicted(learned: tuple[CircuitModel, FitResult]) -> None:
    model, result = learned
    _, linear = fitted("linear")
    assert result.held_out[0].esr_gain_free < 1e-3
    assert result.held_out[0].esr_gain_free < 0.02 * linear.held_out[0].esr_gain_free
    assert float(model.overrides({"gain": LEFT_OUT})["gain"]) == pytest.approx(float(value_at("log", 0.6)), rel=0.1)


def test_a_rotation_that_nobody_wrote_down_is_found_on_the_law() -> None:
    """A label stands for a value of the .param; the law that the other recordings tell says where that is."""
    model = CircuitModel(parse_netlist(circuit("learned")), RATE, 1)
    unknown = recorded(0.4)
    unknown = Recording(unknown.dry, unknown.wet, RATE, {"gain": "a"}, "somewhere", gain_group="all")
    result = fit(model, [*(recorded(rotation) for rotation in (0.3, 0.5)), unknown], input_level=LEVEL)
    assert result.positions["gain@a"] == pytest.approx(float(value_at("log", 0.4)), rel=0.05)
    assert result.recordings[2].knobs["gain"] == pytest.approx(0.4, abs=0.02)


def test_the_run_keeps_the_law(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pot.cir").write_text(circuit("learned"))
    session = [f"input_level = {LEVEL}\ngain = 'shared'\n"]
    for k, rotation in enumerate(ROTATIONS[1:4]):
        recording = recorded(rotation)
        write_wav(Path(f"dry{k}.wav"), recording.dry, RATE)
        write_wav(Path(f"wet{k}.wav"), recording.wet, RATE)
        session.append(f"[[recording]]\ndry = 'dry{k}.wav'\nwet = 'wet{k}.wav'\nknobs = {{ gain = {rotation} }}\n")
    Path("session.toml").write_text("".join(session))
    arguments = ["fit", "pot.cir", "--recordings", "session.toml", "--out", "run", "--oversample", "1"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "laws of the pots" in done.stdout
    (law,) = json.loads(Path("run/run.json").read_text())["laws"]
    assert law["knob"] == "gain"
    assert law["rotations"] == [0.3, 0.5, 0.7]
    (knob,) = read_netlist(Path("run/fitted.cir")).knobs
    assert knob.taper == law["taper"]
    assert [value for _, value in table_points(knob.taper)[1:-1]] == law["values"]
    assert read_netlist(Path("run/nominal.cir")).knobs[0].taper == "learned"
    page = Path("run/report.html").read_text()
    assert "Laws of the pots" in page
    # Its own circuit renders what was fitted: the law is honoured outside of the fit.
    done = CliRunner().invoke(
        main, ["evaluate", "run", "dry1.wav", "wet1.wav", "--set", "gain=0.5", "--json"], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["esr"] < 1e-4
