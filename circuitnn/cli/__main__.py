"""`python -m circuitnn.cli` does what the installed command does."""

from circuitnn.cli import main

main(prog_name="circuitnn")
