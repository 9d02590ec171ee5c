"""What `import circuitnn` offers, and what it does not drag in."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys

import pytest

PUBLIC = [
    "read_netlist",
    "write_netlist",
    "parse_netlist",
    "Circuit",
    "Chain",
    "CircuitModel",
    "CircuitState",
    "Recording",
    "Session",
    "read_session",
    "fit",
    "FitResult",
    "export",
    "read_model",
    "CircuitnnError",
    "NetlistError",
    "CircuitError",
    "ConvergenceError",
    "RecordingError",
    "CompilerError",
    "OutputError",
    "ConvergenceWarning",
]


def test_the_exported_names_are_exactly_these() -> None:
    import circuitnn

    assert sorted(circuitnn.__all__) == sorted(PUBLIC)
    assert set(PUBLIC) <= set(dir(circuitnn))


def test_every_name_can_be_imported_and_is_documented() -> None:
    """In a fresh interpreter with warnings as errors: what the other tests import must not be what makes it work."""
    code = (
        "import inspect, types, circuitnn\n"
        f"for name in {PUBLIC!r}:\n"
        "    thing = getattr(circuitnn, name)\n"
        "    assert not isinstance(thing, types.ModuleType), name\n"
        "    assert len(inspect.getdoc(thing) or '') > 20, name\n"
        "    assert thing is getattr(circuitnn, name), name\n"
        "from circuitnn import *\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("fit", "import circuitnn.fitting.problem"),
        ("export", "import circuitnn.cli"),
        ("export", "from circuitnn import read_model"),
    ],
)
def test_functions_are_functions_whatever_was_imported_before(name: str, first: str) -> None:
    """A subpackage of the same name would take its place."""
    code = f"{first}\nimport circuitnn as cn\nassert type(cn.{name}).__name__ == 'function', cn.{name}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_public_methods_are_documented() -> None:
    import circuitnn

    for name in PUBLIC:
        thing = getattr(circuitnn, name)
        if inspect.isclass(thing):
            for key, member in vars(thing).items():
                if not key.startswith("_") and callable(member) and thing.__module__.startswith("circuitnn"):
                    assert inspect.getdoc(member), f"{name}.{key}"


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, json, circuitnn; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & {
        "torch",
        "sympy",
        "scipy",
        "matplotlib",
        "numpy",
        "auraloss",
        "soundfile",
        "jinja2",
        "rich",
        "click",
    }


def test_reading_a_netlist_does_not_load_torch() -> None:
    code = "import sys, circuitnn; circuitnn.parse_netlist('t\\nR1 a 0 1k\\n'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_an_unknown_name_is_an_attribute_error() -> None:
    import circuitnn

    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = circuitnn.no_such_thing
