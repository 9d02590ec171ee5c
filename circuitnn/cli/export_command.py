"""circuitnn export"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from circuitnn.cli.console import about, note, plain
from circuitnn.cli.settings import apply_settings, nonzero, set_option
from circuitnn.export import TARGETS, export_subject
from circuitnn.values import literal_values


@click.command()
@click.argument("source", type=click.Path(path_type=Path), metavar="RUN|NETLIST")
@click.option("--to", "target", type=click.Choice(list(TARGETS)), required=True, help="What to make.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The file or folder to write.")
@set_option
@click.option("--sample-rate", type=click.FloatRange(1.0, 1e9), help="Hz.  [default: the run's, or 44100]")
@click.option("--oversample", type=click.IntRange(1, 32), help="1, 2, 4 or 8.  [default: the run's, or 4]")
@click.option("--input-level", type=float, help="Volt at digital full scale.  [default: the run's, or 1]")
@click.option("--output-gain", type=float, help="Digital full scale per volt.  [default: the run's mean, or 1]")
def export(
    source: Path,
    target: str,
    out: Path,
    settings: Sequence[str],
    sample_rate: float | None,
    oversample: int | None,
    input_level: float | None,
    output_gain: float | None,
) -> None:
    """Write the fitted circuit of RUN, or that of a NETLIST or model file, in a form that other programs take.

    json: a model file. spice: a netlist. cpp: a folder with C++ source. lv2: a plugin bundle, NAME.lv2. web: a
    page, NAME.html. The knobs of the netlist can be turned in all of them; --set says where they begin.
    """
    from circuitnn.export.sources import subject_of

    nonzero("--input-level", input_level, positive=True)
    nonzero("--output-gain", output_gain, positive=False)
    subject = subject_of(source)
    for text in subject.circuit.notes:
        note(text)
    circuit, fixed = apply_settings(subject.circuit, settings)
    subject = replace(
        subject,
        circuit=circuit,
        values={**subject.values, **{name: literal_values(circuit)[name] for name in fixed}},
        intervals={name: ends for name, ends in subject.intervals.items() if name not in fixed},
        sample_rate=sample_rate or subject.sample_rate,
        oversample=oversample or subject.oversample,
        input_level=input_level or subject.input_level,
        output_gain=output_gain or subject.output_gain,
    )
    with about(source):
        export_subject(subject, target, out)
    click.echo(plain(f"{out}: {TARGETS[target]}"))
