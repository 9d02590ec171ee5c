"""docs/adding-a-device.md does what it says: its code runs here as it stands there."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from circuits import parse
from plane import curve

from circuitnn.devices import FAMILIES, MODEL_KINDS, ModelKind, kinds, register
from circuitnn.discretise import DiscreteCircuit
from circuitnn.errors import CircuitnnError

PAGE = Path(__file__).parents[1] / "docs" / "adding-a-device.md"


@pytest.fixture(scope="module")
def names() -> Iterator[dict[str, Any]]:
    """What the page's code defines, run from top to bottom."""
    found: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE):
        exec(block, found)
    yield found
    kinds._BY_NAME.pop("tunnel")


def test_the_operating_point_is_on_the_curve(names: dict[str, Any]) -> None:
    discrete = DiscreteCircuit(
        parse("V1 in 0 0.05\nR1 in out 50\nD1 out 0 TD\n.model TD TUNNEL(IP=2m VP=60m RS=1)"), 48000.0
    )
    point = discrete.operating_point({})
    voltage, current = point.w[0], point.z[discrete.equations.unknowns.index("i(D1#rs)")]
    tunnelling = 2e-3 * voltage / 0.06 * math.exp(1.0 - voltage / 0.06)
    junction = 1e-10 * math.expm1(voltage / (1.2 * 0.0258649))
    assert current == pytest.approx(tunnelling + junction, rel=1e-6)
    assert 0.05 - 51.0 * current == pytest.approx(voltage, rel=1e-9)


def test_its_resistance_is_negative_behind_the_peak(names: dict[str, Any]) -> None:
    law, c = names["TUNNEL_DIODE"], names["c"]
    _, (below, at, above) = curve(law, np.array([[0.059, 0.06, 0.061]]), c)
    assert below < at > above


def test_its_parameters_have_gradients(names: dict[str, Any]) -> None:
    model = names["model"]
    u = 0.3 * torch.sin(torch.arange(200, dtype=torch.float64) * 0.05)[None, :, None]
    model(u)[0].square().sum().backward()
    slope = float(model.free.grad[0])

    def loss(ip: float) -> float:
        with torch.no_grad():
            free = torch.tensor([math.log(ip / 2e-3)], dtype=torch.float64)
            return float(torch.func.functional_call(model, {"free": free}, (u,))[0].square().sum())

    quotient = (loss(2e-3 * math.exp(1e-4)) - loss(2e-3 * math.exp(-1e-4))) / 2e-4
    assert slope == pytest.approx(quotient, rel=1e-5)


def test_a_name_is_registered_once(names: dict[str, Any]) -> None:
    kind = MODEL_KINDS["d"]
    with pytest.raises(CircuitnnError, match="'d' already"):
        register(kind)
    stranger = ModelKind("other", type(kind.family)("Y", "thing", ("a", "b"), "Y1 a b M"), kind.laws, kind.ports)
    with pytest.raises(CircuitnnError, match="begin with 'Y'"):
        register(stranger)
    assert "Y" not in FAMILIES
