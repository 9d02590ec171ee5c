"""circuitnn simulate"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import click

from circuitnn.cli.console import about, plain, progress, warn
from circuitnn.cli.settings import check_output, nonzero, open_netlist, oversample_option, set_option


@click.command()
@click.argument("netlist", type=click.Path(path_type=Path))
@click.argument("dry", type=click.Path(path_type=Path), metavar="DRY.wav")
@click.argument("wet", type=click.Path(path_type=Path), metavar="WET.wav")
@set_option
@oversample_option
@click.option("--input-level", type=float, default=1.0, show_default=True, help="Volt at digital full scale of DRY.")
@click.option("--output-gain", type=float, default=1.0, show_default=True, help="Digital full scale of WET per volt.")
def simulate(
    netlist: Path,
    dry: Path,
    wet: Path,
    settings: Sequence[str],
    oversample: int,
    input_level: float,
    output_gain: float,
) -> None:
    """Run DRY.wav through NETLIST and write WET.wav (32-bit float), without delay between them."""
    nonzero("--input-level", input_level, positive=True)
    nonzero("--output-gain", output_gain, positive=False)
    check_output(wet, netlist, dry)
    circuit, _ = open_netlist(netlist, settings)

    import numpy as np

    from circuitnn.audio import read_wav, write_wav
    from circuitnn.models.circuit_model import CircuitModel
    from circuitnn.rendering import render

    signal, rate = read_wav(dry)
    seconds = len(signal) / rate
    with about(netlist):
        model = CircuitModel(circuit, rate, oversample, learn=[])
        with progress(seconds, every=seconds / 10.0) as update:
            rendering = render(
                model, signal, input_level, lambda done: update(done, f"simulated {done:.1f} of {seconds:.1f} s")
            )
    # In place: a long file is held no more often than it must be.
    output = rendering.output
    output *= output_gain
    write_wav(wet, output, rate)
    peak, rms = float(max(output.max(), -output.min())), float(np.sqrt(np.dot(output, output) / len(output)))
    if peak > 1.0:
        warn(
            f"{wet}: the output exceeds digital full scale (peak {peak:.3g}); "
            f"--output-gain {0.99 / peak * output_gain:.2g} keeps it below"
        )
    if rendering.failures:
        warn(f"{rendering.failures} of {len(output) * oversample} steps did not converge and kept the last solution")
    click.echo(
        plain(
            f"{wet}: {seconds:.2f} s at {rate} Hz, peak {_level(peak)}, rms {_level(rms)}, "
            f"{rendering.failures} steps not converged, {seconds / rendering.seconds:.0f} times real time"
        )
    )


def _level(value: float) -> str:
    return f"{value:.4g} ({20.0 * math.log10(value):.1f} dBFS)" if value > 0.0 else "0"
