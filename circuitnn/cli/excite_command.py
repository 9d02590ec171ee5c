"""circuitnn excite"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from circuitnn.cli.console import plain, print_json
from circuitnn.cli.settings import check_output
from circuitnn.errors import CircuitnnError, RecordingError


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="OUT.wav [RECORDED.wav]")
@click.option("--check", is_flag=True, help="Compare RECORDED.wav, which came back, with OUT.wav, which was played.")
@click.option("--sample-rate", type=int, default=48_000, show_default=True, help="In Hz.")
@click.option("--seconds", type=float, default=75.0, show_default=True, help="Length, 20 to 600.")
@click.option("--level", type=float, default=0.9, show_default=True, help="Peak, digital full scale at 1.")
@click.option("--json", "as_json", is_flag=True, help="The result of --check as one JSON object on stdout.")
def excite(files: Sequence[Path], check: bool, sample_rate: int, seconds: float, level: float, as_json: bool) -> None:
    """Write a test signal to OUT.wav, to be played through a device and recorded; or check what came back."""
    if len(files) != (2 if check else 1):
        wanted = "OUT.wav and RECORDED.wav" if check else "OUT.wav alone (or --check OUT.wav RECORDED.wav)"
        raise CircuitnnError(f"expected {wanted}, found {len(files)} files")
    if check:
        _check(files[0], files[1], as_json)
        return
    check_output(files[0])

    from circuitnn.audio import write_wav
    from circuitnn.excitation import excitation

    write_wav(files[0], excitation(sample_rate, seconds, level), sample_rate)
    click.echo(plain(f"{files[0]}: {seconds:g} s at {sample_rate} Hz; play it through the device and record all of it"))


def _check(out: Path, recorded: Path, as_json: bool) -> None:
    from dataclasses import asdict

    from circuitnn.audio import read_wav, resampled
    from circuitnn.excitation_check import check
    from circuitnn.report.words import full_scale

    played, rate = read_wav(out)
    signal, own_rate = read_wav(recorded)
    try:
        found = check(played, resampled(signal, own_rate, rate), rate)
    except RecordingError as error:
        raise RecordingError(f"{recorded}: {error.message}", error.hint) from None
    if as_json:
        print_json(asdict(found))
        return
    condition = found.condition
    polarity = "as played" if found.polarity > 0 else "inverted"
    drift = "not known" if found.drift is None else f"{1e6 * found.drift:.1f} parts per million"
    mains = "" if condition.mains is None else f" at {condition.mains:.0f} Hz"
    lines = (
        f"delay      {found.delay} samples ({1e3 * found.delay / rate:.2f} ms)",
        f"polarity   {polarity}",
        f"blips      {found.blips} of 4",
        f"clock      {drift} apart",
        f"missing    {found.missing:.2f} s",
        f"peak       {full_scale(condition.peak)}, {condition.clipped or 'no'} samples clipped",
        f"noise      {full_scale(condition.noise)}, hum {full_scale(condition.hum)}{mains}",
    )
    click.echo("\n".join((plain(f"{recorded}: usable"), *lines)))
