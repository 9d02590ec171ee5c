"""Device laws as textbooks print them, in torch: region by region, written independently of the package's.

FORMULAS maps a law's name to a function of its variables w [ports] and its coefficients by name that gives the port
currents [ports].
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

GMIN = 1e-12
Coefficients = dict[str, Tensor]


def shockley(saturation: Tensor, slope: Tensor, v: Tensor) -> Tensor:
    return saturation * (torch.exp(slope * v) - 1.0)


def diode(w: Tensor, c: Coefficients) -> Tensor:
    return shockley(c["forward"], c["slope"], w) + GMIN * w


def diode_pair(w: Tensor, c: Coefficients) -> Tensor:
    return shockley(c["forward"], c["slope"], w) - shockley(c["reverse"], c["slope"], -w) + 2.0 * GMIN * w


def breakdown(w: Tensor, c: Coefficients) -> Tensor:
    """The current that flows against the diode; none at 0 V."""
    return c["knee_current"] * torch.exp(-c["knee_slope"] * (w + c["knee_voltage"])) - c["knee_offset"]


def breakdown_diode(w: Tensor, c: Coefficients) -> Tensor:
    return diode(w, c) - breakdown(w, c)


def complete_diode(w: Tensor, c: Coefficients) -> Tensor:
    width = ((1.0 - w * c["inverse_potential"]) ** 2 + 0.005) ** c["half_grading"]
    low = shockley(c["forward"], c["slope"], w) + width * shockley(c["recombination"], c["recombination_slope"], w)
    conducting = low > 0.0
    high = low / (1.0 + torch.sqrt(torch.where(conducting, low, 1.0) * c["inverse_injection"]))
    return torch.where(conducting, high, low) - breakdown(w, c) + GMIN * w


def bjt(w: Tensor, c: Coefficients) -> Tensor:
    v_be, v_bc = w
    i_f = shockley(c["saturation"], c["forward_slope"], v_be)
    i_r = shockley(c["saturation"], c["reverse_slope"], v_bc)
    i_t = (i_f - i_r) * (1.0 - v_bc * c["inverse_vaf"])
    return torch.stack([i_f * c["inverse_bf"] + i_t + GMIN * v_be, i_r * c["inverse_br"] - i_t + GMIN * v_bc])


def gummel_poon(w: Tensor, c: Coefficients) -> Tensor:
    v_be, v_bc = w
    i_f = shockley(c["saturation"], c["forward_slope"], v_be)
    i_r = shockley(c["saturation"], c["reverse_slope"], v_bc)
    q_1 = 1.0 / (1.0 - v_bc * c["inverse_vaf"] - v_be * c["inverse_var"])
    q_2 = i_f * c["inverse_ikf"] + i_r * c["inverse_ikr"]
    i_t = (i_f - i_r) / (q_1 / 2.0 * (1.0 + torch.sqrt(1.0 + 4.0 * q_2)))
    i_be = i_f * c["inverse_bf"] + shockley(c["emitter_leakage"], c["emitter_leakage_slope"], v_be)
    i_bc = i_r * c["inverse_br"] + shockley(c["collector_leakage"], c["collector_leakage_slope"], v_bc)
    return torch.stack([i_be + i_t + GMIN * v_be, i_bc - i_t + GMIN * v_bc])


def jfet(w: Tensor, c: Coefficients) -> Tensor:
    v_gs, v_gd = w
    reversed_ = v_gs < v_gd
    v_ds = torch.abs(v_gs - v_gd)
    over = torch.maximum(v_gs, v_gd) - c["threshold"]
    b, tail = c["square"], c["tail"]
    linear = v_ds * (v_ds * (tail * v_ds - b) + over * (2.0 * b + 3.0 * tail * (over - v_ds)))
    saturated = over**2 * (b + tail * over)
    i = torch.where(over > v_ds, linear, saturated) * c["gain"] * (1.0 + c["lambda_"] * v_ds)
    i = torch.where(over > 0.0, i, 0.0 * i)
    i = torch.where(reversed_, -i, i)
    gates = shockley(c["saturation"], c["slope"], w) + GMIN * w
    return gates + torch.stack([i, -i])


def mosfet(w: Tensor, c: Coefficients) -> Tensor:
    v_gs, v_bs, v_bd = w
    v_ds = torch.abs(v_bs - v_bd)
    reversed_ = v_bs < v_bd
    gate = torch.where(reversed_, v_gs - v_bs + v_bd, v_gs)
    bulk = torch.maximum(v_bs, v_bd)
    depleted = torch.sqrt(1.0 - torch.clamp(bulk, max=0.0) * c["inverse_phi"])
    root = torch.where(bulk > 0.0, 1.0 - bulk * c["inverse_phi"] / 2.0, depleted)
    over = gate - c["threshold"] - c["body"] * (root - 1.0)
    i = torch.where(over > v_ds, v_ds * (2.0 * over - v_ds), over**2) * c["half_beta"] * (1.0 + c["lambda_"] * v_ds)
    i = torch.where(over > 0.0, i, 0.0 * i)
    i = torch.where(reversed_, -i, i)
    i_bs = shockley(c["source_saturation"], c["slope"], v_bs) + GMIN * v_bs
    i_bd = shockley(c["drain_saturation"], c["slope"], v_bd) + GMIN * v_bd
    return torch.stack([0.0 * v_gs, i_bs + i, i_bd - i])


def switch(w: Tensor, c: Coefficients) -> Tensor:
    v, control = w
    x = ((control - c["start"]) * c["rate"]).clamp(0.0, 1.0)
    current = v * torch.exp(c["off"] + c["span"] * x * x * (3.0 - 2.0 * x))
    return torch.stack([current, torch.zeros_like(current)])


FORMULAS: dict[str, Callable[[Tensor, Coefficients], Tensor]] = {
    function.__name__: function
    for function in (diode, diode_pair, breakdown_diode, complete_diode, bjt, gummel_poon, jfet)
} | {"nmos": mosfet, "pmos": mosfet, "voltage_switch": switch, "current_switch": switch}
