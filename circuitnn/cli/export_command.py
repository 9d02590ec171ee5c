"""circuitnn export"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from circuitnn.cli.console import about, note, plain
from circuitnn.cli.settings import apply_settings, nonzero, set_option
from circuitnn.errors import CircuitnnError
from circuitnn.export import TARGETS, export_subject
from circuitnn.export.subject import NetworkSubject, Subject
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
    """Write the fitted circuit or the network of RUN, or the circuit of a NETLIST or model file, in a form that other
    programs take.

    json: a model file. spice: a netlist. cpp: a folder with C++ source. lv2: a plugin bundle, NAME.lv2. web: a
    page, NAME.html. The knobs of the netlist can be turned in all of them; --set says where they begin.
    """
    from circuitnn.export.sources import subject_of

    nonzero("--input-level", input_level, positive=True)
    nonzero("--output-gain", output_gain, positive=False)
    subject = subject_of(source)
    if isinstance(subject, NetworkSubject):
        options = {"--sample-rate": sample_rate, "--oversample": oversample}
        options |= {"--input-level": input_level, "--output-gain": output_gain}
        for option, value in options.items():
            if value is not None:
                raise CircuitnnError(f"{option} is for circuits", "a network runs as it was trained")
        changed: Subject | NetworkSubject = replace(subject, positions=_positions(subject, settings))
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
        export_subject(changed, target, out)
    click.echo(plain(f"{out}: {TARGETS[target]}"))


def _positions(subject: NetworkSubject, settings: Sequence[str]) -> dict[str, float]:
    """Where `--set` puts the knobs of a network. Raises CircuitnnError."""
    known, found = subject.network.knob_names, dict(subject.positions)
    for text in settings:
        name, _, number = text.partition("=")
        if name not in known:
            raise CircuitnnError(f"there is no knob {name!r}", f"knobs: {', '.join(known) or 'none'}")
        try:
            found[name] = float(number)
        except ValueError:
            found[name] = -1.0
        if not 0.0 <= found[name] <= 1.0:
            raise CircuitnnError(f"--set {text}: expected a position from 0 to 1, found {number!r}")
    return found
