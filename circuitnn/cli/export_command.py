"""circuitnn export"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from circuitnn.cli.console import about, note, plain
from circuitnn.cli.settings import FiniteRange, apply_settings, knob_positions, nonzero, set_option
from circuitnn.errors import CircuitnnError
from circuitnn.exporting import NETWORK_FILES, TARGETS, export_subject, write_network
from circuitnn.values import literal_values

if TYPE_CHECKING:
    from circuitnn.exporting.subject import NetworkSubject, Subject


@click.command()
@click.argument("source", type=click.Path(path_type=Path), metavar="RUN|NETLIST|FILE")
@click.option("--to", "target", type=click.Choice(list(TARGETS)), required=True, help="What to make.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The file or folder to write.")
@set_option
@click.option("--sample-rate", type=FiniteRange(1.0, 1e9), help="Hz.  [default: the run's, or 44100]")
@click.option("--oversample", type=click.IntRange(1, 32), help="1, 2, 4 or 8.  [default: the run's, or 4]")
@click.option("--input-level", type=float, help="Volt at digital full scale.  [default: the run's, or 1]")
@click.option("--output-gain", type=float, help="Digital full scale per volt.  [default: the run's mean, or 1]")
@click.option(
    "--against", type=click.Path(path_type=Path), metavar="RUN|NETLIST|FILE", help="What a page compares it with."
)
def export(
    source: Path,
    target: str,
    out: Path,
    settings: Sequence[str],
    sample_rate: float | None,
    oversample: int | None,
    input_level: float | None,
    output_gain: float | None,
    against: Path | None,
) -> None:
    """Write the fitted circuit or the trained network of RUN, or that of a NETLIST, a model file or another engine's
    file, in a form that other programs take.

    json: a model file. nam, aidax, rtneural, simplernn: networks for the engines of these names. spice: a netlist. cpp:
    a folder with C++ source. lv2: a plugin bundle, NAME.lv2. web: a page, NAME.html. The knobs of the netlist can be
    turned in all of them; --set says where they begin.
    """
    from circuitnn.exporting.sources import subject_of
    from circuitnn.exporting.subject import NetworkSubject
    from circuitnn.formats import network_at

    nonzero("--input-level", input_level, positive=True)
    nonzero("--output-gain", output_gain, positive=False)
    saved = network_at(source) if target in NETWORK_FILES else None
    if saved is not None:
        if settings or oversample is not None:
            raise CircuitnnError("--set and --oversample are for circuits", "a network's file holds all positions")
        saved = replace(
            saved,
            sample_rate=sample_rate or saved.sample_rate,
            input_level=input_level or saved.input_level,
            output_gain=output_gain or saved.output_gain,
        )
        write_network(saved, target, out, against)
        click.echo(plain(f"{out}: {TARGETS[target]}"))
        return
    subject = subject_of(source)
    if isinstance(subject, NetworkSubject):
        options = {"--sample-rate": sample_rate, "--oversample": oversample}
        options |= {"--input-level": input_level, "--output-gain": output_gain}
        for option, value in options.items():
            if value is not None:
                raise CircuitnnError(f"{option} is for circuits", "a network runs as it was trained")
        changed: Subject | NetworkSubject = replace(
            subject, positions={**subject.positions, **knob_positions(settings, subject.network.knob_names)}
        )
    else:
        for text in subject.circuit.notes:
            note(text)
        circuit, fixed = apply_settings(subject.circuit, settings)
        changed = replace(
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
        export_subject(changed, target, out, None if against is None else subject_of(against))
    click.echo(plain(f"{out}: {TARGETS[target]}"))
