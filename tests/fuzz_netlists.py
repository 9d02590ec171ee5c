"""Mutated netlists must give a circuit or a clean error: python tests/fuzz_netlists.py [--count 10000] [--first SEED]

Each case is a netlist of netlists/ with a few mutations, by its seed. It goes through reading, equations, operating
point and all that `inspect` shows, every tenth one through discretisation too, in a process whose memory is limited. An
exception that is no CircuitnnError, a warning, more than LIMIT_SECONDS of computing or more than LIMIT_BYTES of memory
is a defect.
The netlists of the defects are kept in the folder --keep, and the exit status says whether there are any.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

NETLISTS = Path(__file__).parents[1] / "netlists"
LIMIT_SECONDS = 5.0
LIMIT_BYTES = 2**30
# Where a process neither finishes a case nor feels its own alarm, as within one long call of a library.
STUCK_SECONDS = 120.0
DISCRETISED = 10
FREQUENCIES = (20.0, 1e3)

NUMBERS = (
    "0", "-0", "1e999", "-1e999", "1e-999", "1e308", "1e-308", "-1", "nan", "inf", "1e9999999999", "9" * 400,
    "0x10", "1_000", "4k7", "1meg", "1e", "1e+", "--1", "1.2.3", "٣", "½", "1e300k", "{1/0}", "{0/0}", "{-1}",
    "{sqrt(-1)}", "{1e308*1e308}", "{10**308**10}", "{exp(1000)}", "{2**0.5**-1e6}", "-4.7k", "1e-30", "1e30",
)  # fmt: skip
WORDS = (
    "__class__", "__import__('os')", "{__import__('os').system('id')}", "{().__class__}", "{[].__class__}", "eval(1)",
    "{exec('1')}", "{lambda: 1}", "{i}", "{I}", "{oo}", "{zoo}", "{S}", "{E}", "{Q}", "{time}", "{v(in)}",
    "{v(out,in)}",
    "{i(Vin)}", "{pi}", "0", "gnd", "in", "out", "Vin", "params:", "DC", "AC", "=", "(", ")", "{", "}", "'", '"', "+",
    "..", "*@", "%s", "{%s}", "\\", "µ", "Ω", "10µ", "\u202e", "\ufeff", "\x00", "\x1b[31m", "é" * 50, "😀",
    "a" * 5000,
)  # fmt: skip
LINES = (
    ".include /etc/passwd", ".include ../secret.cir", ".include .", ".include CON", ".include case.cir",
    ".lib case.cir x",
    ".include \\\\host\\share\\x.cir", '.include "C:\\x.cir"', ".include file:///etc/passwd", ".include ~/.bashrc",
    ".subckt s a b", ".ends", "X9 in out s", "X9 in out X9", ".end", ".endl", ".lib", ".param", ".param a={a}",
    ".param a={b} b={a}", ".func f(x) {f(x)}", ".func f(x) {g(x)} g(x) {f(x)}", ".model", ".model M",
    ".model DCLIP D(",
    ".model DCLIP D(IS=0 N=0)", ".model DCLIP D(IS=-1n)", ".model QX NPN(BF=0)", ".temp 1e999", ".temp -273.15",
    ".temp -300", ".temp nan", ".options temp=-1000", ".ic v(out)=1", "*@ input nix", "*@ output nix nix", "*@ knob",
    "*@ knob drive 2", "*@ knob drive nan", "*@ knob drive 0.5 taper=__class__", "*@ learn", "*@ learn R1 R1",
    "*@ tol R=",
    "*@ learn R1 tol=-5%", "*@ learn R1 tol=1e999%", "*@ input Vin Vin", "*@ nix", "+ 1k", "+", "R9 in in 1k",
    "C9 0 0 1",
    "L9 in out 0", "L8 in out 1m", "K9 L9 L8 1", "K9 L9 L8 2", "K9 L1 L2 0.5", "F9 out 0 Vin 1", "H9 q 0 Vin 1k",
    "J9 out in 0 JX", ".model JX NJF(VTO=-2 BETA=1m)", "M9 out in 0 0 MX", ".model MX NMOS(VTO=1 KP=1m)",
    "C9 in out 0", "R9 in out 0", "V9 in in 1", "V9 in 0 1", "E9 in 0 in 0 1", "E9 q 0 q 0 1",
    "E9 in 0 out 0 -1e12", "G9 out 0 out 0 -1", "G9 out 0 in 0 1e30", "I9 in out 1e20", "D9 in out DCLIP",
    "D9 in in DCLIP", "D9 out 0 DCLIP 0", "D9 out 0 DCLIP -1", "D9 out 0 DCLIP 1e30", "B9 out 0 I={v(out)/v(in)}",
    "B9 out 0 I={1/v(out)}", "B9 out 0 I={ln(v(out))}", "B9 out 0 I={exp(v(out)**9)}", "B9 out 0 I={v(out)**v(out)}",
    "B9 out 0 V={v(out)}", "B9 q 0 V={tanh(v(out))}", "B9 out 0 I={-v(out)}", "B9 out 0 I={1e300*v(out)*1e300}",
    "B9 out 0 I={v(out) > 0 ? 1 : -1}", "B9 out 0 I={sqrt(v(out)-1)}", "B9 out 0 I={0*v(out)}",
    "B9 out 0 I={tan(v(out))}",
    "B9 out 0 I={(v(out)+v(in))**100}", "B9 out 0 I={min(v(out), max(v(in), 1))}", "B9 out 0 I={1e-3*floor(v(out))}",
)  # fmt: skip

Mutation = Callable[[random.Random, str], str]


def _lines(r: random.Random, text: str) -> tuple[list[str], int]:
    lines = text.split("\n")
    return lines, r.randrange(len(lines))


def delete_line(r: random.Random, text: str) -> str:
    lines, k = _lines(r, text)
    return "\n".join(lines[:k] + lines[k + 1 :])


def repeat_line(r: random.Random, text: str) -> str:
    lines, k = _lines(r, text)
    return "\n".join(lines[:k] + [lines[k]] * r.choice((2, 2, 2, 1000)) + lines[k + 1 :])


def move_line(r: random.Random, text: str) -> str:
    lines, k = _lines(r, text)
    line = lines.pop(k)
    lines.insert(r.randrange(len(lines) + 1), line)
    return "\n".join(lines)


def add_line(r: random.Random, text: str) -> str:
    lines, k = _lines(r, text)
    return "\n".join([*lines[: k + 1], r.choice(LINES), *lines[k + 1 :]])


def splice(r: random.Random, text: str) -> str:
    """Lines of another netlist."""
    lines, k = _lines(r, text)
    others = r.choice(sorted(NETLISTS.glob("*.cir"))).read_text().split("\n")
    first = r.randrange(len(others))
    return "\n".join(lines[:k] + others[first : first + r.randrange(1, 20)] + lines[k:])


def _replace_word(r: random.Random, text: str, word: str) -> str:
    """Most often in a card, sometimes in a comment."""
    lines, k = _lines(r, text)
    if lines[k].startswith("*") and not lines[k].startswith("*@"):
        lines, k = _lines(r, text)
    words = lines[k].split(" ")
    words[r.randrange(len(words))] = word
    lines[k] = " ".join(words)
    return "\n".join(lines)


def swap_words(r: random.Random, text: str) -> str:
    return _replace_word(r, text, r.choice(text.split() or [""]))


def strange_number(r: random.Random, text: str) -> str:
    return _replace_word(r, text, r.choice(NUMBERS))


def strange_word(r: random.Random, text: str) -> str:
    return _replace_word(r, text, r.choice(WORDS))


def scale_number(r: random.Random, text: str) -> str:
    return _replace_word(r, text, f"{r.choice((1, 1, 1, -1)) * 10 ** r.uniform(-40, 40):.3g}")


def flip_characters(r: random.Random, text: str) -> str:
    characters = list(text)
    for _ in range(r.choice((1, 1, 3, 30))):
        if characters:
            characters[r.randrange(len(characters))] = chr(r.choice((r.randrange(256), r.randrange(32, 127))))
    return "".join(characters)


def cut(r: random.Random, text: str) -> str:
    first = r.randrange(len(text) + 1)
    return text[:first] + text[first + r.randrange(100) :]


def truncate(r: random.Random, text: str) -> str:
    return text[: r.randrange(len(text) + 1)]


def nest(r: random.Random, text: str) -> str:
    """Deep or wide structures."""
    n = r.choice((10, 100, 1000, 20000))
    deep = min(n, 2000)
    kinds = (
        lambda: f".param deep={{{'(' * n}1{')' * n}}}",
        lambda: f".param deep={{{'-' * n}1}}",
        lambda: f".param deep={{{'!' * n}1}}",
        lambda: f".param deep={{{'2**' * n}1}}",
        lambda: f".param deep={{{'1?1:' * n}1}}",
        lambda: f".param deep={{{'1+' * n}1}}",
        lambda: f".param deep={{{'abs(' * n}1{')' * n}}}",
        lambda: f"R8 in out {{{'{' * n}1{'}' * n}}}",
        lambda: f"R8 in out 1k\n{'+' * n}",
        lambda: f"R8 in out 1k{chr(10)}{(chr(10) + '+').join([''] * n)}",
        lambda: "\n".join(f".param d{k}={{d{k + 1}+d{k + 1}}}" for k in range(deep)) + f"\n.param d{deep}=1",
        lambda: ".param t=1\n" + "\n".join(f".param d{k}={{d{k + 1}*d{k + 1}+t}}" for k in range(deep))
        + f"\n.param d{deep}={{t}}\nR8 in out {{d0}}",
        lambda: "\n".join(f".func f{k}(x) {{f{k + 1}(x)+f{k + 1}(x)}}" for k in range(deep))
        + f"\n.func f{deep}(x) {{x}}\nR8 in out {{f0(1)}}",
        lambda: "\n".join(f".subckt s{k} a b\nX1 a b s{k + 1}\nX2 a b s{k + 1}\n.ends" for k in range(deep))
        + f"\n.subckt s{deep} a b\nR1 a b 1k\n.ends\nX8 in out s0",
        lambda: "\n".join(f".subckt t{k} a b" for k in range(n)),
        lambda: "\n".join(f"R8{k} in n{k} 1k\nR9{k} n{k} 0 1k" for k in range(min(n, 300))),
        lambda: "\n".join(f"D8{k} in n{k} DCLIP\nR9{k} n{k} 0 1k" for k in range(min(n, 50))),
        lambda: f"B8 out 0 I={{1e-3*tanh({'tanh(' * n}v(out){')' * n})}}",
        lambda: f"B8 out 0 I={{1e-6*({'+'.join(f'v(out)**{k}' for k in range(1, min(n, 300)))})}}",
        lambda: f"B8 out 0 I={{1e-6*({'*'.join(['(v(out)+v(in))'] * min(n, 100))})}}",
        lambda: f"*@ learn {' '.join(['R1'] * n)}",
    )  # fmt: skip
    lines, k = _lines(r, text)
    return "\n".join([*lines[: k + 1], r.choice(kinds)(), *lines[k + 1 :]])


# What mostly leaves a netlist that can be read, and what mostly does not.
ELECTRICAL: Sequence[Mutation] = (
    delete_line,
    move_line,
    add_line,
    add_line,
    splice,
    swap_words,
    scale_number,
    scale_number,
)
ANY: Sequence[Mutation] = (
    *ELECTRICAL, repeat_line, strange_number, strange_number, strange_word, strange_word, flip_characters, cut,
    truncate, nest,
)  # fmt: skip


def mutated(seed: int) -> bytes:
    """The netlist of a seed."""
    r = random.Random(seed)
    text = r.choice(sorted(NETLISTS.glob("*.cir"))).read_text()
    mutations = r.choice((ELECTRICAL, ANY))
    for _ in range(r.choice((1, 1, 1, 2, 3) if mutations is ELECTRICAL else (1, 1, 1, 2, 3, 8))):
        text = r.choice(mutations)(r, text)
    if mutations is ELECTRICAL:
        return text.encode()
    text = text.replace("\n", r.choice(("\n",) * 8 + ("\r\n", "\r")))
    encoding = r.choice(("utf-8",) * 8 + ("latin-1", "utf-16"))
    data = text.encode(encoding, errors="replace")
    if r.random() < 0.1:
        bytes_ = bytearray(data or b"x")
        for _ in range(r.choice((1, 4, 100))):
            bytes_[r.randrange(len(bytes_))] = r.randrange(256)
        data = bytes(bytes_)
    return data


def examine(path: Path, discretise: bool) -> str:
    """What became of a netlist: "circuit", or the name of a CircuitnnError. Any other exception is a defect."""
    # Here, because the process that only starts others needs none of it.
    from circuitnn.cli.inspect_json import as_json
    from circuitnn.cli.inspect_tables import ANALYSES
    from circuitnn.errors import CircuitnnError
    from circuitnn.inspection import inspect
    from circuitnn.netlist import read_netlist

    try:
        circuit = read_netlist(path)
        as_json(inspect(circuit), FREQUENCIES, ANALYSES)
        if discretise:
            from circuitnn.discretise import DiscreteCircuit

            DiscreteCircuit(circuit, 48000.0).theta({})
    except CircuitnnError as error:
        return type(error).__name__
    return "circuit"


def _limit_memory() -> None:
    used = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmData" in line)
    limit = 1024 * used + LIMIT_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _expired(number: int, frame: object) -> None:
    raise TimeoutError(f"more than {LIMIT_SECONDS} s")


def work(first: int, count: int, step: int) -> None:
    """Examines the cases first, first + step, ...; one line of output each: seed and outcome."""
    examine(sorted(NETLISTS.glob("*.cir"))[0], discretise=True)
    _limit_memory()
    warnings.simplefilter("error")
    signal.signal(signal.SIGPROF, _expired)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "case.cir")
        for seed in range(first, first + count, step):
            path.write_bytes(mutated(seed))
            signal.setitimer(signal.ITIMER_PROF, LIMIT_SECONDS)
            try:
                outcome = examine(path, seed % DISCRETISED == 0)
            except BaseException as error:  # KeyboardInterrupt and the like are no excuse for a netlist either.
                outcome = f"defect: {type(error).__name__}: {error} {_place(error)}".replace("\n", " ")[:600]
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0.0)
            print(seed, outcome, flush=True)


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "circuitnn" in frame.filename]
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed((own or frames)[-3:]))


def outcomes(first: int, count: int, step: int = 1) -> Iterator[tuple[int, str]]:
    """Seed and outcome of each case; a process that dies or hangs is replaced and counts as the defect of its case."""
    seeds = list(range(first, first + count, step))
    while seeds:
        command = [sys.executable, __file__, "--work", str(seeds[0]), str(seeds[-1] + 1 - seeds[0]), str(step)]
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        with tempfile.TemporaryFile("w+") as errors, subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as worker:  # fmt: skip
            assert worker.stdout is not None
            with ThreadPoolExecutor(1) as reader:
                while seeds:
                    line = reader.submit(worker.stdout.readline)
                    try:
                        found = line.result(STUCK_SECONDS)
                    except TimeoutError:
                        found = ""
                        worker.kill()
                    if not found:
                        worker.kill()
                        errors.seek(0)
                        last = errors.read().strip().splitlines()[-1:]
                        yield seeds.pop(0), f"defect: the process hung or died: {worker.wait()} {' '.join(last)}"
                        break
                    seed, _, outcome = found.rstrip("\n").partition(" ")
                    assert int(seed) == seeds.pop(0)
                    yield int(seed), outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--keep", type=Path, default=Path("fuzz-defects"), help="folder for netlists with defects")
    parser.add_argument("--work", type=int, nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work(*given.work)
        return
    counts: Counter[str] = Counter()
    n = given.processes
    with ThreadPoolExecutor(n) as pool:
        lanes = [
            pool.submit(lambda k=k: list(_reported(given.first + k, given.count - k, n, given.keep))) for k in range(n)
        ]
        for outcome in itertools.chain.from_iterable(lane.result() for lane in lanes):
            counts[outcome] += 1
    print(f"{sum(counts.values())} netlists:", ", ".join(f"{outcome} {k}" for outcome, k in counts.most_common()))
    sys.exit(counts["defect"] > 0)


def _reported(first: int, count: int, step: int, keep: Path) -> Iterator[str]:
    """Kinds of outcomes; defects are printed and kept."""
    for seed, outcome in outcomes(first, count, step):
        kind, _, _ = outcome.partition(":")
        if kind == "defect":
            keep.mkdir(exist_ok=True)
            (keep / f"{seed}.cir").write_bytes(mutated(seed))
            print(seed, outcome, flush=True)
        yield kind


if __name__ == "__main__":
    main()
