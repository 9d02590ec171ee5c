"""The command line: parses, calls, prints. Every command has its own file."""

from __future__ import annotations

import os

import click

from circuitnn.cli.bench_command import bench
from circuitnn.cli.compare_command import compare
from circuitnn.cli.console import ReportingGroup
from circuitnn.cli.evaluate_command import evaluate
from circuitnn.cli.excite_command import excite
from circuitnn.cli.export_command import export
from circuitnn.cli.fit_command import fit
from circuitnn.cli.inspect_command import inspect
from circuitnn.cli.simulate_command import simulate
from circuitnn.cli.train_command import train

__all__ = ["main"]


@click.group(cls=ReportingGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="circuitnn")
def main() -> None:
    """SPICE netlists as differentiable, compiled audio circuit models, fitted to recordings."""
    # OpenMP's threads wait for each other by spinning, unless told otherwise before torch loads it. That costs a
    # machine that has anything else to do up to ten times the time.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


for command in (inspect, simulate, excite, fit, train, evaluate, compare, export, bench):
    main.add_command(command)
