"""What a batch gains: the TS-808 clipper per step and lane with eight lanes per thread, against one recording.

Both with one thread (per core) and with all of them.
"""

from __future__ import annotations

from functools import partial

import torch
from common import NETLISTS, RATE, Row, difference_db, guitar_like, lanes, print_rows, side_by_side
from torch import Tensor
from torch_loop import gradient_of

from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import read_netlist

LANES_PER_THREAD = 8
# A lane of a batch is the same computation as alone, but for the order of additions.
TOLERANCE_DB = -200.0


def measure(repeats: int, steps: int = RATE // 2) -> list[Row]:
    """`ours` is the batch, `peer` one recording alone; whole calls, set-up included."""
    model = CircuitModel(read_netlist(NETLISTS / "ts808_clipper.cir"), RATE, oversample=1)
    threads, rows = torch.get_num_threads(), list[Row]()

    @torch.no_grad()
    def simulation(u: Tensor) -> Tensor:
        return model(u)[0]

    for count in dict.fromkeys((1, threads)):
        torch.set_num_threads(count)
        batch = LANES_PER_THREAD * count
        u = lanes(guitar_like(steps), batch)
        together = simulation(u)
        for lane in (0, batch - 1):
            difference = difference_db(together[lane], simulation(u[lane : lane + 1])[0])
            assert difference < TOLERANCE_DB, f"lane {lane} differs by {difference:.1f} dB from the same signal alone"
        for name, work in {"simulation": simulation, "gradient": partial(gradient_of, model)}.items():
            times = side_by_side({"batch": partial(work, u), "single": partial(work, u[:1])}, repeats)
            per_lane = 1e9 * times["batch"] / (steps * batch)
            rows.append(
                Row(
                    "lanes",
                    f"ts808_clipper, {name}, batch {batch}",
                    f"batch 1, {count} thread{'s' * (count > 1)}",
                    per_lane,
                    1e9 * times["single"] / steps,
                    {"threads": count, "core_ns_per_step_and_lane": per_lane * count},
                )
            )
    torch.set_num_threads(threads)
    return rows


if __name__ == "__main__":
    print_rows(measure(5))
