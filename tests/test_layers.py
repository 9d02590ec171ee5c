"""Who may import whom. A module imports from its own layer or a lower one, and no private name of another module."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "circuitnn"

# Lowest first. A name stands for a module or for a whole subpackage; a longer name is looked up before a shorter one.
LAYERS = (
    "errors units solving documents placing",
    "symbolic circuit dual tapers",
    "affine couplings stamp",
    "devices netlist values",
    "topology substitution mna",
    "operating_point schemes",
    "dk codegen",
    "stages",
    "runtime theta_tangent",
    "filters lanes",
    "kernel",
    "gated recurrence",
    "reference discretise learnables oversampling",
    "simulate",
    "models",
    "condition",
    "audio excitation loudness cepstrum metrics losses rendering",
    "formats",
    "fit fitting networks training",
    "probing",
    "aliasing evaluation inspection session excitation_check",
    "report runs exporting playable comparison bench network_runs",
    "cli __main__",
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names.split()}
# FitResult.save(folder) is part of the public interface; it hands itself to the layer that knows files, when called.
EXCEPTIONS = {("circuitnn.fitting.result", "circuitnn.runs")}
# The front door: it may know everything, lazily.
FRONT = "circuitnn"


def modules() -> dict[str, Path]:
    """Dotted name -> file, for every module of the package."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def layer(module: str) -> int:
    """The layer of a module, by its longest listed prefix below the package."""
    inner = module.removeprefix(f"{FRONT}.")
    while inner:
        if inner in LEVEL:
            return LEVEL[inner]
        inner = inner.rpartition(".")[0]
    pytest.fail(f"{module} is in no layer: add it to LAYERS in {Path(__file__).name}, as low as its imports allow")


def imports(module: str, path: Path) -> list[tuple[str, str, int]]:
    """(module imported from, name, line) for everything imported from this package, wherever in the file."""
    found = []
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, "", node.lineno) for alias in node.names if alias.name.split(".")[0] == FRONT]
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                base = package.split(".")[: len(package.split(".")) - node.level + 1]
                source = ".".join([*base, *source.split(".")]).rstrip(".")
            if source.split(".")[0] == FRONT:
                found += [(source, alias.name, node.lineno) for alias in node.names]
    return found


def target(source: str, name: str) -> str:
    """The module that `from source import name` reads."""
    return f"{source}.{name}" if f"{source}.{name}" in MODULES else source


@pytest.mark.parametrize("module", [name for name in MODULES if name != FRONT])
def test_imports_go_down(module: str) -> None:
    own = layer(module)
    for source, name, line in imports(module, MODULES[module]):
        imported = target(source, name)
        assert imported != FRONT, f"{module}:{line} imports from the front door; import the module itself"
        assert imported in MODULES, f"{module}:{line} imports {imported}, which does not exist"
        if (module, imported) not in EXCEPTIONS:
            assert layer(imported) <= own, f"{module}:{line} imports {imported}, which is in a higher layer"


@pytest.mark.parametrize("module", MODULES)
def test_private_names_stay_at_home(module: str) -> None:
    for source, name, line in imports(module, MODULES[module]):
        for part in [*source.split("."), name]:
            private = part.startswith("_") and not part.startswith("__")
            assert not private, f"{module}:{line} imports the private {part} of {source}"


@pytest.mark.parametrize("module", MODULES)
def test_private_attributes_of_modules_stay_at_home(module: str) -> None:
    """`other._name` is the same trespass as importing it."""
    tree = ast.parse(MODULES[module].read_text())
    aliases = {name for source, name, _ in imports(module, MODULES[module]) if f"{source}.{name}" in MODULES}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases:
            assert not node.attr.startswith("_"), f"{module}:{node.lineno} uses {node.value.id}.{node.attr}"


def test_no_module_imports_itself_round_a_corner() -> None:
    """No cycles among modules, counting what is imported at the top of a file."""
    graph: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        top = ast.Module(
            [n for n in ast.parse(path.read_text()).body if isinstance(n, ast.Import | ast.ImportFrom)], []
        )
        lines = {node.lineno for node in top.body}
        edges = {target(source, name) for source, name, line in imports(module, path) if line in lines}
        graph[module] = edges - {module, FRONT}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join([*trail[trail.index(module) :], module])
        if module not in done:
            for other in sorted(graph.get(module, ())):
                visit(other, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize(
    "name",
    ["circuit", "values", "topology", "mna", "symbolic", "dual", "devices", "netlist", "operating_point", "inspection"],
)
def test_the_description_of_a_circuit_needs_no_torch(name: str) -> None:
    """Not even through the modules it imports."""
    seen, waiting = set(), [m for m in MODULES if m.split(".")[1:2] == [name]]
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        waiting += [target(source, item) for source, item, _ in imports(module, MODULES[module])]
        for node in ast.walk(ast.parse(MODULES[module].read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert "torch" not in {item.split(".")[0] for item in names}, module


def test_the_table_names_only_what_can_exist_once() -> None:
    names = " ".join(LAYERS).split()
    assert len(names) == len(set(names))
