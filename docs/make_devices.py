"""Makes the pages of the devices: python docs/make_devices.py

docs/devices/NAME.md holds the law, its parameters and curves; the images beside it come from this program's own
solutions (device_curves.py). What the pages say is in device_pages.py (devices with a .model), tube_pages.py and
subcircuit_pages.py.
"""

# ruff: noqa: N802 - methods named as sympy's printer calls them
from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path

import sympy
from device_curves import plot
from device_pages import MODEL_PAGES, Page
from subcircuit_pages import SUBCIRCUIT_PAGES
from sympy.printing.latex import LatexPrinter
from tube_pages import TUBE_PAGES

from circuitnn.devices import MODEL_KINDS, Law
from circuitnn.netlist.part_library import library_files

FOLDER = Path(__file__).parent / "devices"
PAGES = (*MODEL_PAGES, *TUBE_PAGES, *SUBCIRCUIT_PAGES)


# --- Formulas -------------------------------------------------------------------------------------------------------

SYMBOLS = {
    "temperature": "T", "thermal_voltage": "V_T", "v": "v", "v_be": "v_{BE}", "v_bc": "v_{BC}", "v_gs": "v_{GS}",
    "v_gd": "v_{GD}", "v_bs": "v_{BS}", "v_bd": "v_{BD}", "forward": "I_S", "saturation": "I_S", "reverse": "I_S'",
    "slope": "a", "forward_slope": "a_F", "reverse_slope": "a_R", "inverse_bf": r"\beta_F^{-1}",
    "inverse_br": r"\beta_R^{-1}", "inverse_vaf": "V_{AF}^{-1}", "inverse_var": "V_{AR}^{-1}",
    "inverse_ikf": "I_{KF}^{-1}", "inverse_ikr": "I_{KR}^{-1}", "emitter_leakage": "I_{SE}",
    "emitter_leakage_slope": "a_E", "collector_leakage": "I_{SC}", "collector_leakage_slope": "a_C",
    "knee_current": "I_Z", "knee_voltage": "V_Z", "knee_slope": "a_Z", "knee_offset": "I_{Z0}", "knee_start": "I_{Z1}",
    "knee_emission": "n_Z", "recombination": "I_{SR}", "recombination_slope": "a_{SR}",
    "inverse_potential": "V_J^{-1}", "half_grading": "m", "inverse_injection": "I_K^{-1}", "threshold": "V_{th}",
    "gain": r"\beta", "half_beta": r"\tfrac{\beta}{2}", "lambda_": r"\lambda", "square": "b", "tail": "c",
    "body": r"\gamma", "surface": r"\Phi", "inverse_phi": r"\Phi^{-1}", "warming": "h",
    "source_saturation": "I_{SS}", "drain_saturation": "I_{SD}",
    "i_low": "i_0", "i_f": "i_F", "i_r": "i_R", "i_t": "i_T", "x_s": "x_S", "x_d": "x_D", "i_ds": "i_{DS}", "u": "u",
    "v_on": "v_{on}", "G_min": r"G_{\min}", "T_0": "T_0",
    "control": "c", "off": "l_0", "span": "l_1", "start": "c_0", "rate": "k", "closed": "x",
}  # fmt: skip
# Coefficients that only hold Newton's method back are no part of the law.
LIMITS = ("critical", "forward_critical", "reverse_critical", "knee_critical", "source_critical", "drain_critical")
# SPICE's temperature laws of silicon, which pages explain in words and whose formulas hide the rest.
POTENTIALS = {
    "surface": r"\phi(\mathrm{PHI})",
    "inverse_potential": r"1 / \phi(\mathrm{VJ})",
    "warming": r"e^{E_g(T_0)/V_{T0} - E_g(T)/V_T}",
}
GMIN, NOMINAL = sympy.symbols("G_min T_0", positive=True)


class Printer(LatexPrinter):
    """LaTeX that reads like a textbook, with what only protects numbers left out."""

    def _print_Symbol(self, symbol: sympy.Symbol) -> str:
        return SYMBOLS.get(symbol.name, rf"\mathrm{{{symbol.name.upper()}}}")

    def _print_Float(self, number: sympy.Float) -> str:
        mantissa, _, exponent = f"{float(number):.6g}".partition("e")
        return mantissa if not exponent else rf"{mantissa} \cdot 10^{{{int(exponent)}}}"

    def _as_ordered_terms(self, expression: sympy.Add, order: str | None = None) -> list[sympy.Expr]:
        terms = super()._as_ordered_terms(expression, order)
        return sorted(terms, key=lambda term: (term.could_extract_minus_sign(), not term.is_Number))

    def _print_Piecewise(self, choice: sympy.Piecewise) -> str:
        (first, _), (second, _) = choice.args
        # The other case is no effect, or a hyperbola beyond where devices work.
        if second == 0 or second.has(sympy.Min):
            return str(self._print(first))
        return rf"\left({self._print(first)} \text{{ or }} {self._print(second)}\right)"

    def _print_limited_exp(self, function: sympy.Function, exp: str | None = None) -> str:
        return rf"e^{{{self._print(function.args[0])}}}"

    _print_exp = _print_limited_exp


def latex(expression: sympy.Expr) -> str:
    """A formula with TNOM in kelvin, and without floors, ceilings and factors of 1.0."""
    bounds = [node for node in expression.atoms(sympy.Max, sympy.Min) if {1e-30, 1e6} & set(node.args)]
    bare = expression.xreplace({node: next(a for a in node.args if not a.is_Number) for node in bounds})
    bare = bare.xreplace({sympy.Float(1e-12): GMIN, sympy.Symbol("tnom", positive=True): NOMINAL - 273.15})
    whole = bare.replace(
        lambda node: isinstance(node, sympy.Float) and float(node).is_integer(), lambda node: sympy.Integer(int(node))
    )
    return str(Printer({"mul_symbol": r"\,"}).doprint(whole))


def equations(pairs: Iterable[tuple[str, str]]) -> list[str]:
    return [
        "$$",
        r"\begin{aligned}",
        *(rf"{name} &= {formula} \\" for name, formula in pairs),
        r"\end{aligned}",
        "$$",
        "",
    ]


def shortened(expression: sympy.Expr, law: Law, own: sympy.Symbol | None = None) -> sympy.Expr:
    """The expression in the law's parts, of which later ones hold earlier ones; `own` is the part that it is itself."""
    for symbol, part in reversed(law.parts.items()):
        if symbol != own:
            expression = expression.subs(part, symbol)
    return expression


def law_block(title: str, law: Law) -> str:
    parts = [(SYMBOLS[symbol.name], latex(shortened(part, law, symbol))) for symbol, part in law.parts.items()]
    currents = []
    for variable, current in zip(law.variables, law.currents, strict=True):
        port = SYMBOLS[variable.name].partition("_")[2]
        if current != 0:
            currents.append((f"i_{port}" if port else "i", latex(shortened(current, law))))
    rules = [
        (SYMBOLS[symbol.name], POTENTIALS[symbol.name] if symbol.name in POTENTIALS else latex(rule))
        for symbol, rule in law.coefficients.items()
        if symbol.name not in LIMITS
    ]
    lines = [f"### {title}", "", *equations([*parts, *currents]), "with", "", *equations(rules)]
    return "\n".join([*lines, wrapped(f"Source: {law.source}."), ""])


# --- Pages ----------------------------------------------------------------------------------------------------------


def parameter_table(kind_name: str) -> str:
    kind = MODEL_KINDS[kind_name]
    instance = {name: p for law, _ in kind.laws for name, p in law.parameters.items() if name not in kind.parameters}
    rows = ["| parameter | default | unit | meaning |", "|---|---|---|---|"]
    for name, parameter in {**kind.parameters, **instance}.items():
        default = "none" if math.isinf(parameter.default) else f"{parameter.default:g}"
        where = " (on the element)" if name in instance else ""
        rows.append(f"| {name.upper()} | {default} | {parameter.unit} | {parameter.description}{where} |")
    others = [f"{alias.upper()} is {name.upper()}" for alias, name in kind.aliases.items() if name in kind.parameters]
    also = f"\nOther names: {', '.join(others)}.\n" if others else ""
    ignored = ", ".join(name.upper() for name in sorted(kind.ignored - kind.parameters.keys() - instance.keys()))
    return "\n".join([*rows, also, wrapped(f"Known, without effect here: {ignored}."), ""])


def subcircuit(name: str) -> tuple[str, dict[str, str]]:
    """Its nodes and the defaults of its parameters, from its card in the part library."""
    joined = "\n".join(library_files().values()).replace("\n+", "")
    (card,) = re.findall(rf"^\.subckt {name} (.+)$", joined, re.MULTILINE)
    words = card.split()
    nodes = " ".join(word for word in words if "=" not in word)
    return nodes, dict(word.split("=") for word in words if "=" in word)


def subcircuit_table(name: str, page: Page) -> str:
    """How to write an instance, and what its parameters mean."""
    nodes, defaults = subcircuit(name)
    meanings = page.subcircuits[name]
    if meanings.keys() != defaults.keys():
        raise ValueError(f"{name}: its parameters are {', '.join(defaults)}, described are {', '.join(meanings)}")
    given = " ".join(f"{key}={value}" for key, value in defaults.items())
    card = textwrap.fill(f"X1 {nodes} {name} {given}", 118, subsequent_indent="+ ")
    rows = ["```spice", card, "```", "", "| parameter | default | unit | meaning |", "|---|---|---|---|"]
    rows += [f"| {key} | {value} | {' | '.join(meanings[key])} |" for key, value in defaults.items()]
    return "\n".join([*rows, ""])


def wrapped(text: str) -> str:
    return "\n\n".join(textwrap.fill(paragraph, 120, break_long_words=False) for paragraph in text.split("\n\n"))


def page_text(page: Page) -> str:
    blocks = [f"# {page.title}", "", wrapped(page.text), ""]
    if page.kinds:
        family = MODEL_KINDS[page.kinds[0]].family
        kinds = " or ".join(f"`{kind.upper()}`" for kind in page.kinds)
        blocks += [f"`{family.example}`, with a `.model` of type {kinds}.", ""]
    if page.example:
        blocks += ["```spice", page.example, "```", ""]
    blocks.append("\n\n".join(f"![{curve.title}]({image(page, k)})" for k, curve in enumerate(page.curves)))
    blocks += ["", "## Law", ""]
    for title, formulas in page.formulas.items():
        blocks += [f"### {title}", "", *equations(formulas.items())]
    if page.source:
        blocks += [wrapped(f"Source: {page.source}."), ""]
    blocks += [law_block(title, law) for title, law in page.laws.items()]
    if page.remarks:
        blocks += [wrapped(page.remarks), ""]
    if page.kinds:
        tables = dict.fromkeys(parameter_table(kind) for kind in page.kinds)
        blocks += ["## Parameters", "", *tables]
    if page.subcircuits:
        blocks += ["## Parameters", "", *(subcircuit_table(name, page) for name in page.subcircuits)]
    return "\n".join(blocks).rstrip() + "\n"


def image(page: Page, number: int) -> str:
    return f"{page.name}.png" if number == 0 else f"{page.name}_{number + 1}.png"


INDEX = """\
# Devices

Made by `python docs/make_devices.py`. How to add one: [a page of its own](../adding-a-device.md).

| device | element | `.model` types, or subcircuits of the [part library](../parts.md) |
|---|---|---|
{rows}

Charges (junction capacitances and transit times) are not modelled: put a capacitor into the netlist where one is heard.
`circuitnn inspect` names every parameter of a card that has no effect.
"""


def index() -> str:
    rows = []
    for page in PAGES:
        letters = dict.fromkeys(MODEL_KINDS[kind].family.letter for kind in page.kinds) or page.elements
        names = ", ".join((*(kind.upper() for kind in page.kinds), *page.subcircuits))
        rows.append(f"| [{page.title}]({page.name}.md) | {', '.join(letters)} | {names} |")
    return INDEX.format(rows="\n".join(rows))


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "README.md").write_text(index(), encoding="utf-8")
    for page in PAGES:
        (FOLDER / f"{page.name}.md").write_text(page_text(page), encoding="utf-8")
        for number, curve in enumerate(page.curves):
            plot(curve, FOLDER / image(page, number))


if __name__ == "__main__":
    main()
