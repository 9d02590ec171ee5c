"""The latency of oversampling is exactly what the model says, and render takes out exactly that."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import parse_netlist

RATE = 44100
# No capacitor, so that every delay there is comes from the rate conversion.
DIVIDER = """half the input
*@ input  Vin
*@ output out
Vin in  0   0
R1  in  out 1k
R2  out 0   1k
.end
"""
FACTORS = (1, 2, 4, 8)


def model(factor: int) -> CircuitModel:
    return CircuitModel(parse_netlist(DIVIDER), RATE, oversample=factor)


@torch.no_grad()
def render(factor: int, signal: torch.Tensor) -> torch.Tensor:
    return model(factor).render(signal[None, :, None])[0, :, 0]


@pytest.mark.parametrize("factor", FACTORS)
def test_a_rendered_impulse_stays_where_it_was(factor: int) -> None:
    """The response is symmetric about the impulse: no fraction of a sample is left over."""
    impulse = torch.zeros(401, dtype=torch.float64)
    impulse[200] = 1.0
    y = render(factor, impulse)
    assert len(y) == len(impulse)
    assert int(y.argmax()) == 200
    torch.testing.assert_close(y, y.flip(0), rtol=0.0, atol=1e-13)
    if factor > 1:
        # Nothing beyond the two filters' half lengths.
        reach = model(factor).latency
        assert reach > 0
        torch.testing.assert_close(y[: 200 - reach], torch.zeros(200 - reach, dtype=torch.float64), rtol=0, atol=1e-14)


@pytest.mark.parametrize("factor", FACTORS)
def test_forward_is_late_by_the_latency(factor: int) -> None:
    impulse = torch.zeros(401, dtype=torch.float64)
    impulse[100] = 1.0
    circuit = model(factor)
    with torch.no_grad():
        y = circuit(impulse[None, :, None])[0][0, :, 0]
    assert int(y.argmax()) == 100 + circuit.latency
    expected = render(factor, impulse)[: 401 - circuit.latency]
    torch.testing.assert_close(y[circuit.latency :], expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("frequency", [100, 1245, 4186, 15000])
def test_a_rendered_sine_has_the_phase_of_the_input(factor: int, frequency: int) -> None:
    """Over one second of the steady state: the delay is below a millionth of a sample, the gain the divider's."""
    time = torch.arange(RATE + 2000, dtype=torch.float64) / RATE
    sine = torch.sin(2.0 * torch.pi * frequency * time)
    y = render(factor, sine)[1000 : 1000 + RATE].numpy()
    turn = np.exp(-2j * np.pi * frequency * np.arange(1000, 1000 + RATE) / RATE)
    amplitude = 2j * np.mean(y * turn)
    delay = -np.angle(amplitude) / (2.0 * np.pi * frequency) * RATE
    assert abs(delay) < 1e-6
    assert abs(amplitude) == pytest.approx(0.5, rel=6e-5)
